"""Tests of `app.inference`."""
