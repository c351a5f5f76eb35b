"""Rows: generated, read and split."""
