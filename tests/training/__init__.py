"""Tests of the offline side."""
