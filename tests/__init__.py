"""Tests of pltv; they mirror the source."""
