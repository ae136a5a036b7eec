"""Interpretation of files of bars: whose layout it is, and what its numbers and times mean."""
