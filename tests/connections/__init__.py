"""Tests of app/connections."""
