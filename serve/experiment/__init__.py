"""Challengers beside the bundle that decides, never in a process that answers."""
