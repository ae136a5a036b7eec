"""Env runners that replay the market and what they ship to the learner."""
