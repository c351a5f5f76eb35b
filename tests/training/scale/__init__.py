"""Tests of training.scale."""
