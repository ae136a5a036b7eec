"""Start and stop the service on Ray Serve."""
