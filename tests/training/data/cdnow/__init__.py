"""Tests of training.data.cdnow."""
