"""From a request to a decision within its deadline."""
