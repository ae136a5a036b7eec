"""Actors that trade."""

from __future__ import annotations

import torch

from rllib_tactical.bundle.networks import Actor, actor_weights
from rllib_tactical.domain.types import AGENTS, NUM_FEATURES, Float32Array


def opinionated_actors() -> dict[str, Float32Array]:
    """Return weights of actors with sharp opinions; entry always executes."""
    weights: dict[str, Float32Array] = {}
    with torch.random.fork_rng():
        for agent in AGENTS:
            torch.manual_seed(5)  # fvg and momentum agree
            actor = Actor((1.0,) * NUM_FEATURES, 1.0)
            torch.nn.init.normal_(actor.out.weight, std=6.0)
            if agent == "entry":
                torch.nn.init.zeros_(actor.out.weight)
                actor.out.bias.data = torch.tensor([0.0, 3.0, 0.0])
            weights.update(actor_weights(agent, actor))
    return weights
