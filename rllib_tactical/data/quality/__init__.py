"""Rules that bars must keep, findings of a check, repair."""
