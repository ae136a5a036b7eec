"""Tests of the pure trading rules."""
