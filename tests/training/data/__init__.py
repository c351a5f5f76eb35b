"""Tests of generated, read and split rows."""
