"""Tests of `training.publishing`."""
