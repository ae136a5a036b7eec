"""The state of the service: bars, portfolio, journal, performance."""
