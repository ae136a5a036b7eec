from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from rllib_tactical.backtest.brackets import bracket_pnl, vote_outcomes
from rllib_tactical.backtest.engine import run_backtest
from rllib_tactical.domain.decision.aggregation import AggregationConfig
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.features.synergy import SynergyTrack
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.errors import ArrayError, DataError
from tests.backtest.scenes import LONG, START, scene, votes_on
from tests.backtest.test_engine import random_votes

UP = [(100.0, 104.0, 100.0, 104.0)] * 4  # the first bar reaches the target, 3 ATR above 100


def test_a_bracket_earns_what_the_trade_earns() -> None:
    history = scene(UP)
    t = np.array([START, START])
    pnl = bracket_pnl(history, Rules(), t, np.array([1, -1]), len(history))
    traded = run_backtest(history, votes_on(5, {0: LONG}), Rules(), START, START + 5).trades
    assert pnl[0] == traded["pnl"].iloc[0] > 0
    assert pnl[1] < 0  # short at 100: the stop, 2 ATR above, comes first


def test_every_trade_of_a_backtest_is_a_bracket(history: MarketHistory) -> None:
    votes = random_votes(600, 3)
    result = run_backtest(history, votes, Rules(), 500, 1_100)
    ended = result.trades[result.trades["exit_reason"].isin(["stop", "target"])]
    assert len(ended) > 20
    side = np.where(ended["side"] == "long", 1, -1)
    pnl = bracket_pnl(history, Rules(), ended["entry_bar"].to_numpy() - 1, side, 1_100)
    per_lot = ended["pnl"].to_numpy() / ended["quantity"].to_numpy()
    assert np.all(np.sign(pnl) == np.sign(per_lot))


def test_many_brackets_at_once_are_those_one_by_one(history: MarketHistory) -> None:
    t = np.arange(290, 1_999)
    side = np.where(np.arange(len(t)) % 3 == 0, -1, 1)
    together = bracket_pnl(history, Rules(), t, side, len(history))
    for k in (0, 1, 1_023, 1_024, 1_025, len(t) - 1):
        alone = bracket_pnl(history, Rules(), t[k : k + 1], side[k : k + 1], len(history))
        assert np.array_equal(alone, together[k : k + 1], equal_nan=True)


def test_nothing_beyond_the_range_is_looked_at() -> None:
    quiet = [(100.0, 100.5, 99.5, 100.0)] * 3
    history, other = scene([*quiet, *UP]), scene([*quiet, *[(100.0, 100.0, 90.0, 90.0)] * 4])
    t, side, stop = np.array([START]), np.array([1]), START + 4
    assert np.isnan(bracket_pnl(history, Rules(), t, side, stop)).all()
    assert np.isnan(bracket_pnl(other, Rules(), t, side, stop)).all()


def test_a_synergy_against_the_side_does_not_refuse_it() -> None:
    """The side is given: the discount of the vote is no part of what a bracket earns."""
    history = scene(UP)
    track = SynergyTrack.none(len(history))
    track = dataclasses.replace(
        track, kind=np.full_like(track.kind, 1), direction=np.full_like(track.direction, -1)
    )
    against = dataclasses.replace(history, synergy=track)
    strict = Rules(aggregation=AggregationConfig(counter_synergy_factor=0.0))
    t, side = np.array([START]), np.array([1])
    expected = bracket_pnl(history, strict, t, side, len(history))
    assert np.isfinite(expected).all()
    assert bracket_pnl(against, strict, t, side, len(history)) == expected


def test_a_sessions_last_bar_opens_no_bracket() -> None:
    history = scene(UP, session_bars=START + 1)
    assert history.sessions.is_last[START]
    assert np.isnan(
        bracket_pnl(history, Rules(), np.array([START]), np.array([1]), len(history))
    ).all()


def test_outcomes_of_votes_executed_or_not() -> None:
    history = scene(UP)
    votes = votes_on(
        5, {0: (0, 0, 0), 1: LONG, 2: (0, 0, 1)}
    )  # waits, executes, executes without conviction
    votes.confidence[2] = 0.4
    table = vote_outcomes(history, votes, Rules(), START, START + 5).set_index("bar")
    assert table.loc[START, "waits"]
    assert table.loc[START, "winner"] == 1  # two thirds of the weights, the veto comes later
    assert not table.loc[START + 1, "waits"]
    assert table.loc[START + 2, "winner"] == 1
    assert (table["leading"] == 1).all()


def test_bad_input_is_refused() -> None:
    history = scene(UP)
    with pytest.raises(ArrayError, match="side"):
        bracket_pnl(history, Rules(), np.array([START]), np.array([1, 1]), len(history))
    with pytest.raises(DataError, match="brackets need bars from 0"):
        bracket_pnl(history, Rules(), np.array([len(history)]), np.array([1]), len(history))
    empty = np.zeros(0, dtype=np.int64)
    assert len(bracket_pnl(history, Rules(), empty, empty, len(history))) == 0


def test_the_rules_limits_hold() -> None:
    history = scene(UP)
    rules = Rules()
    none = dataclasses.replace(rules, risk=dataclasses.replace(rules.risk, max_leverage=1e-6))
    assert np.isnan(
        bracket_pnl(history, none, np.array([START]), np.array([1]), len(history))
    ).all()
