"""The project's own benchmarks: each measurement with its target and what others reach."""
