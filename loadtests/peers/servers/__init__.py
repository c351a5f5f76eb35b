"""What the peers run, each module by the Python of one environment: it imports nothing else of the project."""
