"""Tests of training.releasing."""
