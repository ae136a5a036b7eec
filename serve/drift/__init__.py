"""Drift of what the service sees and does, watched beside it."""
