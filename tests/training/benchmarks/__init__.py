"""Tests of training.benchmarks."""
