"""The service for as long and as hard as it takes: `make stress`, held to thresholds.toml."""
