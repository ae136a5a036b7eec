"""What the simulator tells the reward of entries and exits, seen in the bonuses they bring."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.features.synergy import SynergyTrack
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.simulation.simulator import Simulator
from rllib_tactical.domain.types import Instrument
from tests.domain.builders import (
    FREE,
    hand_history,
)
from tests.domain.simulation.plays import (
    HOLD,
    LONG,
    QUIET,
    SHORT,
    Rows,
    exit_of,
    mirrored,
    open_ended,
    play,
    votes_of,
)


def entry_bonus(
    raw: dict[tuple[int, int], float] | None = None,
    vote: tuple[int, int, int] = LONG,
    instrument: Instrument = FREE,
    fill_open: float = 100.0,
    **changes: Any,
) -> list[float]:
    """Return the bonuses of an entry decided on bar 2 of a quiet market."""
    rows = [QUIET, QUIET, QUIET, (fill_open, max(fill_open, 101), 99, 100), QUIET]
    history = hand_history(rows, raw=raw, instrument=instrument, **changes)
    simulator = Simulator(history, Rules(), RewardConfig(execution_bonus=0.0), 1)
    simulator.step(votes_of(HOLD))
    simulator.step(votes_of(HOLD))
    step = simulator.step(votes_of(vote))
    assert step.entered[0]
    return [round(float(value), 9) for value in step.bonus[0]]


def test_gap_bonus_within_one_atr_or_the_points_of_the_instrument() -> None:
    assert entry_bonus({(2, 2): 101.0}) == [0.1, 0.0, 0.0]
    assert entry_bonus({(2, 2): 99.0}) == [0.1, 0.0, 0.0]
    assert entry_bonus({(2, 2): 101.25}) == [0.0, 0.0, 0.0]
    assert entry_bonus({(2, 2): 101.25}, atr=1.25) == [0.1, 0.0, 0.0]
    five = dataclasses.replace(FREE, gap_proximity_points=5.0)
    assert entry_bonus({(2, 2): 105.0}, instrument=five) == [0.1, 0.0, 0.0]
    assert entry_bonus({(2, 2): 105.25}, instrument=five) == [0.0, 0.0, 0.0]
    far = dataclasses.replace(FREE, gap_proximity_points=500.0)
    assert entry_bonus(instrument=far) == [0.0, 0.0, 0.0]  # no level is no gap at price 0
    assert entry_bonus({(3, 2): 100.0}) == [0.0, 0.0, 0.0]  # known only after the decision


def test_trend_bonus_is_the_move_of_five_bars_in_atrs() -> None:
    # +2% of 98.04 are 1.96 points up to 100; ATR 1
    expected = round(0.1 * math.tanh(100.0 - 100.0 / 1.02), 9)
    assert entry_bonus({(2, 5): 2.0}) == [0.0, expected, 0.0]
    assert entry_bonus({(2, 5): 2.0}, vote=SHORT) == [0.0, -expected, 0.0]


def test_synergy_bonus_needs_the_same_direction() -> None:
    def track(direction: int) -> SynergyTrack:
        on = np.array([0, 0, 2, 0, 0], dtype=np.int8)
        return SynergyTrack(on, np.where(on > 0, direction, 0).astype(np.int8), np.zeros(5))

    assert entry_bonus(synergy=track(1)) == [0.2, 0.2, 0.2]
    assert entry_bonus(synergy=track(-1), vote=SHORT) == [0.2, 0.2, 0.2]
    assert entry_bonus(synergy=track(-1)) == [0.0, 0.0, 0.0]  # full confidence passes at .7


def test_risk_penalty_looks_at_the_requested_size() -> None:
    # one lot loses 2 points x $10: 100 lots are $2,000 = 2.0%, 101 are more; both are cut to 80
    for base, expected in ((100.0, 0.0), (101.0, -0.5)):
        wants = dataclasses.replace(FREE, base_quantity=base)
        assert entry_bonus(instrument=wants) == [expected] * 3


def test_execution_bonus_needs_a_fill_near_the_decision_price() -> None:
    for fill_open, expected in ((100.0, 0.1), (100.04, 0.1), (100.06, 0.0), (99.0, 0.1)):
        rows = [QUIET, (fill_open, 101, 99, 100), QUIET]
        _, steps = play(rows, LONG, HOLD)
        assert steps[0].bonus[0, 2] == pytest.approx(expected)
    _, steps = play([QUIET, (99.94, 101, 99, 100), QUIET], SHORT, HOLD)
    assert steps[0].bonus[0, 2] == 0.0


@pytest.mark.parametrize(("signal_t", "paid"), [(0, False), (1, True), (2, True), (3, False)])
def test_mitigation_bonus_for_entries_on_or_right_after_a_mitigation(
    signal_t: int, paid: bool
) -> None:
    rows = [QUIET, QUIET, QUIET, QUIET, (100, 104, 99, 100), QUIET]
    _, steps = play(rows, HOLD, HOLD, LONG, HOLD, raw={(signal_t, 4): 1.0}, sessions=open_ended(6))
    assert exit_of(steps[3])[0] == "TARGET"
    assert steps[3].bonus[0].tolist() == [0.15 if paid else 0.0, 0.0, 0.0]


def test_a_mitigation_is_not_carried_from_one_trade_to_the_next() -> None:
    win = (100, 104, 99, 100)
    rows = [QUIET, win, QUIET, QUIET, win, QUIET]
    _, steps = play(rows, LONG, HOLD, HOLD, LONG, HOLD, raw={(0, 4): 1.0})
    assert [step.bonus[0, 0] - step.bonus[0, 2] for step in steps] == pytest.approx(
        [0.15, 0, 0, 0, 0]
    )


def test_no_mitigation_before_the_first_bar() -> None:
    """The bar before bar 0 is not the market history's last one."""
    _, steps = play([QUIET, (100, 104, 99, 100), QUIET], LONG, HOLD, raw={(2, 4): 1.0})
    assert exit_of(steps[0])[0] == "TARGET"
    assert steps[0].bonus[0, 0] == steps[0].bonus[0, 2]


@pytest.mark.parametrize(
    ("momentum", "vote", "penalty"),
    [(-1.0, LONG, -0.1), (1.0, LONG, 0.0), (0.0, LONG, 0.0), (1.0, SHORT, -0.1)],
)
def test_counter_trend_penalty_on_a_losing_close(
    momentum: float, vote: tuple[int, int, int], penalty: float
) -> None:
    rows: Rows = [QUIET, QUIET, (100, 101, 97, 100), QUIET]
    rows = mirrored(rows) if vote == SHORT else rows
    _, steps = play(rows, vote, HOLD, raw={(0, 5): momentum})
    assert exit_of(steps[1])[0] == "STOP"
    assert steps[1].bonus[0].tolist() == [0.0, penalty, 0.0]


def test_pnl_scale_of_the_instrument_wins() -> None:
    rows = [QUIET, (100, 101, 99, 101), QUIET]
    for scale, expected in ((None, 10.0 / RewardConfig().pnl_scale), (20.0, 0.5)):
        instrument = dataclasses.replace(FREE, pnl_scale=scale)
        _, steps = play(rows, LONG, HOLD, instrument=instrument)
        assert steps[0].equity_change[0] == 10.0
        assert steps[0].base[0] == pytest.approx(math.tanh(expected))
