"""Measurements of the service under load, and the bounds they are held to."""
