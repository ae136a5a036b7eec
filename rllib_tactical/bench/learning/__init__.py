"""Section "learning": what planted markets teach the agents, and why, in paired runs."""

from rllib_tactical.bench.learning.section import LearningSize, measure_learning

__all__ = ["LearningSize", "measure_learning"]
