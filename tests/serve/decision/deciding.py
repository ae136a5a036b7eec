"""Deciders with actors that say what a test wants, and what they answer."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.config.service import PerformanceConfig
from rllib_tactical.domain.simulation.account import Account
from rllib_tactical.domain.types import Float32Array, FloatArray
from serve.decision.decider import STAGES, Decider
from serve.decision.risk_state import RiskState


class FixedEngine:
    """Returns the same logits (3, 3) for any input."""

    name = "fixed"

    def __init__(self, logits: FloatArray) -> None:
        self._logits = logits.astype(np.float32)

    def logits(self, inputs: Float32Array) -> Float32Array:
        return np.repeat(self._logits[None], len(inputs), axis=0)


class BrokenEngine:
    name = "broken"

    def logits(self, inputs: Float32Array) -> Float32Array:
        raise RuntimeError("out of memory")


LONG_LOGITS = np.array([[3.0, 0.0, 0.0], [3.0, 0.0, 0.0], [0.0, 3.0, 0.0]])


def fixed(bundle: Bundle, logits: FloatArray = LONG_LOGITS, **more: Any) -> Decider:
    return Decider(bundle, PerformanceConfig(), engine=FixedEngine(logits), **more)


FLAT = RiskState(Account.opened(100_000.0))


def ask(
    decider: Decider, request: dict[str, Any], state: RiskState = FLAT, **more: Any
) -> dict[str, Any]:
    decided = decider.answer(json.dumps(request).encode(), state, **more)
    body: dict[str, Any] = msgspec.to_builtins(decided.answer)
    timing = body.pop("timing")
    assert list(timing) == [f"{stage}_ms" for stage in STAGES]
    return body
