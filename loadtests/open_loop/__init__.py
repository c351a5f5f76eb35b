"""Open-loop load: requests leave when they are due, whatever the answers do, and latency counts from that instant."""
