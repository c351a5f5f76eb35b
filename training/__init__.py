"""Offline: raw rows in, a published bundle out."""
