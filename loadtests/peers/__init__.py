"""`make bench-peers`: the whole job of the service beside what people use today to serve ready numeric rows."""
