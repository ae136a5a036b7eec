"""The weights of actors that no training has touched, as a bundle or a checkpoint holds them."""

from __future__ import annotations

from collections.abc import Sequence

from rllib_tactical.bundle.networks import Actor, actor_weights
from rllib_tactical.domain.types import AGENTS, NUM_FEATURES, Float32Array


def weights_of(actors: Sequence[Actor]) -> dict[str, Float32Array]:
    """Return the weights of one actor per agent, in the order fvg, momentum, entry."""
    weights: dict[str, Float32Array] = {}
    for agent, actor in zip(AGENTS, actors, strict=True):
        weights |= actor_weights(agent, actor)
    return weights


def untrained_weights(temperature: float = 1.0) -> dict[str, Float32Array]:
    """Return weights of three actors, drawn from torch's global generator."""
    return weights_of([Actor((0.1,) * NUM_FEATURES, temperature) for _ in AGENTS])
