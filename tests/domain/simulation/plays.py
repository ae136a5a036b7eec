"""Votes on hand-made bars, and how a step says that a trade ended."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.votes import Votes
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.simulation.simulator import Simulator
from rllib_tactical.domain.simulation.transition import ExitReason, Step
from rllib_tactical.domain.types import Instrument, Sessions
from tests.domain.builders import (
    FREE,
    hand_history,
    sessions_of_lengths,
)

LONG, SHORT, HOLD = (0, 0, 1), (2, 2, 1), (1, 1, 0)
QUIET = (100.0, 101.0, 99.0, 100.0)  # inside stop 98 and target 103 of a long, and a short's
Rows = Sequence[tuple[float, ...]]
PAID = dataclasses.replace(FREE, half_spread_ticks=1.0, slippage_ticks=1.0, commission_per_lot=3.0)

SIDES = pytest.mark.parametrize("short", [False, True], ids=["long", "short"])


def mirrored(rows: Rows) -> Rows:
    """Return rows reflected at 100."""
    return [(200 - o, 200 - low, 200 - high, 200 - c) for o, high, low, c in rows]


def votes_of(*index: tuple[int, int, int], confidence: float = 1.0) -> Votes:
    return Votes(np.array(index), np.full((len(index), 3), confidence))


def play(
    rows: Rows,
    *index: tuple[int, int, int],
    instrument: Instrument = FREE,
    rules: Rules | None = None,
    rewards: RewardConfig | None = None,
    **history: Any,
) -> tuple[Simulator, list[Step]]:
    """Vote on hand-made bars from the first on; the last vote is repeated to the end."""
    made = hand_history(rows, instrument=instrument, **history)
    simulator = Simulator(made, rules or Rules(), rewards or RewardConfig(), 1)
    steps = []
    for t in range(len(rows) - 1):
        steps.append(simulator.step(votes_of(index[min(t, len(index) - 1)])))
    return simulator, steps


def exit_of(step: Step) -> tuple[str, float]:
    return ExitReason(int(step.exit_reason[0])).name, float(step.exit_price[0])


def open_ended(length: int) -> Any:
    """Return one session whose last bar is not among the first ``length``."""
    whole = sessions_of_lengths(length + 1)
    arrays = (getattr(whole, field.name)[:length] for field in dataclasses.fields(whole))
    return Sessions(*arrays)
