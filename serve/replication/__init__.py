"""One coordinator owns the state; replicas follow it."""
