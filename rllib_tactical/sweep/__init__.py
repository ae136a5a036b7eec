"""Hyper-parameter sweeps: what is searched, one trial, the sweep around it, its report."""
