"""The decision service on Ray Serve: schemas, the decision itself, health, metrics, start and stop.

Ray Serve shares this package's name: import it as ``from ray import serve as ray_serve``.
"""
