"""The search for a configuration: two objectives, validation error and microseconds, and the front between them."""
