"""Tests of the learners, on plain arrays."""
