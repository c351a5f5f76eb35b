"""Tests of deploy/, of what operators read, and of the script behind docs/capacity.md."""
