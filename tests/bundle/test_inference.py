from __future__ import annotations

from functools import partial

import numpy as np

from rllib_tactical.bundle.inference import TorchEngine, logits_in_batches, probabilities
from rllib_tactical.errors import BundleError
from tests.actors import untrained_weights
from tests.wrong_arrays import assert_wrong_arrays_are_refused


def test_wrong_arrays_are_refused() -> None:
    engine = TorchEngine(untrained_weights())
    inputs = np.zeros((2, 60, 7), dtype=np.float32)
    for function in (
        partial(logits_in_batches, engine),
        partial(probabilities, engine, temperature_scale=1.0),
    ):
        assert_wrong_arrays_are_refused(function, BundleError, inputs=inputs)
