"""Learning experiments: what synthetic markets teach the agents, in paired runs."""

from rllib_tactical.study.runner import LearningSize, measure_learning

__all__ = ["LearningSize", "measure_learning"]
