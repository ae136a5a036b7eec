"""Gateways to brokers: each an extra, imported by whoever uses it and by nothing else."""
