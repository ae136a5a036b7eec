"""What drift is measured on: the shapes of it, and how it is taken from a backtest."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from rllib_tactical.backtest.engine import run_backtest
from rllib_tactical.backtest.result import BacktestResult
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.votes import constant_votes
from rllib_tactical.domain.simulation.history import MarketHistory, build_history
from rllib_tactical.errors import ArrayError
from rllib_tactical.monitoring.observations import (
    DAY_S,
    INPUTS,
    monitored_inputs,
    observations_of,
    session_days,
)
from tests.market import INSTRUMENT, random_bars, sessions_of_length

HOURS = 24
START, STOP = 20 * HOURS, 30 * HOURS


@pytest.fixture(scope="module")
def history() -> MarketHistory:
    """Return hourly bars from 1970-04-11 on, whose sessions begin at six in the evening."""
    bars = random_bars(35 * HOURS, seed=2)
    time = 100 * DAY_S + 18 * 3_600 + 3_600 * np.arange(len(bars))
    bars = dataclasses.replace(bars, timestamp_s=time)
    return build_history(bars, sessions_of_length(len(bars), HOURS), INSTRUMENT)


def backtest(history: MarketHistory, stop: int) -> BacktestResult:
    index = np.random.default_rng(1).integers(0, 3, (stop - START, 3))
    return run_backtest(history, constant_votes(index, 0.9), Rules(), START, stop)


def test_a_session_is_the_day_on_which_it_began(history: MarketHistory) -> None:
    days = session_days(history)
    np.testing.assert_array_equal(days, 100 + np.arange(len(history)) // HOURS)
    # six hours later it is another day, and still the same session
    assert history.bars.timestamp_s[HOURS - 1] // DAY_S == 101


def test_inputs_are_relative_to_the_price(history: MarketHistory) -> None:
    found, features = monitored_inputs(history.features), history.features
    assert found.shape == (len(history), len(INPUTS))
    warm = slice(START, None)
    assert (np.abs(found[warm, INPUTS.index("fvg_nearest_level")]) <= 1.0).all()
    assert (features.raw[warm, 2] > 50.0).any()  # a price
    np.testing.assert_array_equal(found[warm, :2], features.raw[warm, :2])
    np.testing.assert_array_equal(found[warm, 3:-1], features.raw[warm, 3:])
    np.testing.assert_allclose(found[warm, -1] * features.close[warm], features.atr[warm])


def test_a_backtest_is_observed_in_sessions_that_have_ended(history: MarketHistory) -> None:
    whole = observations_of(backtest(history, STOP))
    assert set(whole.bar_session) == set(range(120, 130))
    np.testing.assert_array_equal(whole.bar_session, whole.decision_session)
    result = backtest(history, STOP)
    assert len(whole.trade_session) == len(result.trades) > 5
    np.testing.assert_array_equal(whole.pnl, result.trades["pnl"])
    known = whole.right[~np.isnan(whole.right)]
    assert ((known >= 0.0) & (known <= 1.0)).all()
    cut = observations_of(backtest(history, STOP - 5))
    assert set(cut.bar_session) == set(range(120, 129))
    assert set(cut.trade_session) <= set(range(120, 129))
    assert len(cut.votes) == len(cut.confidence) == 9 * HOURS


def test_arrays_that_do_not_fit_are_refused(history: MarketHistory) -> None:
    found = observations_of(backtest(history, STOP))
    wrong: dict[str, Any] = {
        "inputs": found.inputs[:, :-1],
        "votes": found.votes[:-1],
        "pnl": found.pnl.astype(np.float32),
        "bar_session": found.bar_session.astype(np.int32),
    }
    for name, values in wrong.items():
        with pytest.raises(ArrayError, match=name):
            dataclasses.replace(found, **{name: values})
