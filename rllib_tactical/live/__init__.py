"""Live sessions: the paper broker, and the loop that trades with a running service."""
