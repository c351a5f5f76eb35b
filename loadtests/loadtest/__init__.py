"""`make loadtest`: locust's shapes and the open loop on one service, held to loadtest.toml."""
