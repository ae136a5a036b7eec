"""Weights between a checkpoint, the learner and the env runners."""

from __future__ import annotations

from typing import Any

import numpy as np
from ray.rllib.core import COMPONENT_RL_MODULE

from rllib_tactical.domain.types import AGENTS, Float32Array


def send_weights(algorithm: Any) -> None:
    """Send the learner's actors to every env runner, also to those that have them."""
    weights = algorithm.learner_group.get_weights(module_ids=list(AGENTS))
    state = {COMPONENT_RL_MODULE: {agent: weights[agent] for agent in AGENTS}}
    algorithm.env_runner_group.foreach_env_runner(lambda runner: runner.set_state(state))


def actor_weights_of(algorithm: Any) -> dict[str, Float32Array]:
    """Return the learner's actor weights named ``agent.parameter``, float32."""
    state = algorithm.learner_group.get_weights(module_ids=list(AGENTS))
    prefix = "actor."
    return {
        f"{agent}.{name.removeprefix(prefix)}": np.asarray(value, dtype=np.float32)
        for agent in AGENTS
        for name, value in state[agent].items()
        if name.startswith(prefix)
    }
