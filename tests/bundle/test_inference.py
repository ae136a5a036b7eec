from __future__ import annotations

from functools import partial

import numpy as np

from rllib_tactical.bundle.inference import TorchEngine, logits_in_batches, probabilities
from rllib_tactical.bundle.networks import Actor, actor_weights
from rllib_tactical.domain.types import AGENTS
from rllib_tactical.errors import BundleError
from tests.wrong_arrays import assert_wrong_arrays_are_refused


def test_wrong_arrays_are_refused() -> None:
    weights = {}
    for agent in AGENTS:
        weights |= actor_weights(agent, Actor((0.1,) * 7, 1.0))
    engine = TorchEngine(weights)
    inputs = np.zeros((2, 60, 7), dtype=np.float32)
    for function in (
        partial(logits_in_batches, engine),
        partial(probabilities, engine, temperature_scale=1.0),
    ):
        assert_wrong_arrays_are_refused(function, BundleError, inputs=inputs)
