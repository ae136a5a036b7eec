"""Read columns of numbers from files."""
