"""The pages: what was chosen enters, widgets leave. What they show is computed elsewhere."""
