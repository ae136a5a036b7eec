"""The journal of decisions: what was answered to whom, and on what."""
