"""The ``tactical`` command line; only this package imports click."""
