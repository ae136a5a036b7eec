"""MAPPO: configuration, modules, learner, advantages."""
