"""Tests of a bundle for the ways in which backtests lie."""
