"""Tests of training.search."""
