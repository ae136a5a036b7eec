"""Health, metrics, latency windows and logs."""
