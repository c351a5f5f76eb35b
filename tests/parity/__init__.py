"""The four parities: the same bits on every path."""
