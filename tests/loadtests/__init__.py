"""The harness of the benchmarks itself; no time is asserted."""
