"""Runs, sweeps and backtests that lie in folders, side by side."""
