"""Instruments that share places; what a backtest makes of it is tested in ``backtest``."""

from __future__ import annotations

import numpy as np
import pytest

from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.votes import Votes, constant_votes
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.simulation.simulator import Simulator
from rllib_tactical.domain.simulation.together import step_together
from rllib_tactical.domain.simulation.transition import Step
from rllib_tactical.errors import ConfigError
from tests.market import SESSION_BARS, random_history

FIRST, COUNT = 400, 200


def simulators(count: int = 3) -> list[Simulator]:
    made = []
    for seed in range(count):
        simulator = Simulator(random_history(1_000, seed), Rules(), RewardConfig(), 1)
        simulator.reset(np.zeros(1, dtype=np.int64), np.array([FIRST + 10 * seed]))
        made.append(simulator)
    return made


def long_votes(count: int = COUNT) -> Votes:
    index = np.zeros((count, 3), dtype=np.int64)
    index[:, 2] = 1
    return constant_votes(index, 1.0)


def test_the_last_vote_is_not_acted_on_and_rows_come_in_time_order() -> None:
    made, seen = simulators(), []

    def report(k: int, row: int, step: Step) -> None:
        assert int(step.t[0]) == FIRST + 10 * k + row
        seen.append((FIRST + 10 * k + row, k))

    step_together(made, [long_votes()] * 3, 1, report)
    assert [int(each.t[0]) for each in made] == [FIRST + COUNT - 1 + 10 * k for k in range(3)]
    assert seen == sorted(seen)
    assert len(seen) == 3 * (COUNT - 1)


def test_a_place_comes_back_after_the_last_bar_of_an_instrument_that_holds_one() -> None:
    made, entered = simulators(2), [[], []]  # type: list[Simulator], list[list[int]]

    def report(k: int, row: int, step: Step) -> None:
        if step.entered[0]:
            entered[k].append(row)

    short = SESSION_BARS - FIRST % SESSION_BARS - 15  # within a session, so that it may be open
    step_together(made, [long_votes(short), long_votes()], 1, report)
    assert entered[0]
    assert made[0].side[0], "it must hold a position at its last bar"
    assert min(entered[1]) >= short - 10 - 1


def test_there_is_a_place() -> None:
    with pytest.raises(ConfigError, match="places"):
        step_together(simulators(1), [long_votes()], 0, lambda *_: None)
