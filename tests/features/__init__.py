"""Tests of app.features."""
