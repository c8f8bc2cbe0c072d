"""Timings against peers and against the machine's own limits: `python -m benchmarks`."""
