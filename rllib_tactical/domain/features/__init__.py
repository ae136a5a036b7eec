"""The seven features, their indicators, synergies, and the causality check."""
