"""What crosses the wire: requests in, predictions and problem documents out."""
