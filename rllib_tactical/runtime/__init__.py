"""Processes and the Ray cluster that a command runs on."""
