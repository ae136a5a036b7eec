"""The project's own benchmarks: every figure with its target and what others reach on this run."""
