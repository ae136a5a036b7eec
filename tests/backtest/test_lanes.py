"""Lanes join into one account, whatever happens at the cuts between them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_tactical.backtest.lanes import LANE_BARS, Lanes
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.risk import RiskConfig
from rllib_tactical.domain.decision.votes import Votes
from rllib_tactical.domain.simulation.history import MarketHistory, build_history
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.types import Instrument
from tests.backtest.test_engine import assert_equals_the_loop, random_votes
from tests.market import INSTRUMENT, random_bars, sessions_of_length

START, STOP = 380, 2_480
NO_HALT = Rules(risk=RiskConfig(session_drawdown_limit=1.0, drawdown_share_per_trade=1.0))


def endless(seed: int = 1, instrument: Instrument = INSTRUMENT) -> MarketHistory:
    return build_history(random_bars(2_500, seed), sessions_of_length(2_500, 2_500), instrument)


def rare_votes(count: int, seed: int, share: float) -> Votes:
    """Agents that act on a share of the bars only, so that accounts are flat in between."""
    rng = np.random.default_rng(seed)
    votes = random_votes(count, seed)
    votes.index[rng.random(count) >= share] = 1
    return votes


def test_a_long_session_is_cut_and_equals_one_account() -> None:
    history = endless()
    lanes = Lanes(history, NO_HALT, RewardConfig(), START, STOP)
    assert len(lanes) == -(-(STOP - START - 1) // LANE_BARS)
    passes = assert_equals_the_loop(history, random_votes(2_100, 3), NO_HALT, START, STOP)
    assert 1 < passes < len(lanes)


def test_a_halt_reaches_every_lane_up_to_the_end_of_the_session() -> None:
    history = endless()
    rules = Rules(risk=RiskConfig(drawdown_share_per_trade=1.0))
    passes = assert_equals_the_loop(history, random_votes(2_100, 4), rules, START, STOP)
    assert passes <= 6  # it is passed on in one pass, not from lane to lane


def test_a_position_held_over_whole_lanes() -> None:
    wide = dataclasses.replace(NO_HALT.orders, stop_atr=200.0, target_atr=300.0)
    rules = dataclasses.replace(NO_HALT, orders=wide)
    assert_equals_the_loop(endless(), rare_votes(2_100, 5, 0.002), rules, START, STOP)


def test_a_session_ends_inside_the_bars_and_lifts_halt_and_peak() -> None:
    history = build_history(random_bars(2_500, 6), sessions_of_length(2_500, 1_300), INSTRUMENT)
    rules = Rules(risk=RiskConfig(session_drawdown_limit=0.003))
    assert_equals_the_loop(history, random_votes(2_100, 6), rules, START, STOP)


def test_sessions_of_usual_length_are_not_cut() -> None:
    history = build_history(random_bars(2_500, 1), sessions_of_length(2_500, 288), INSTRUMENT)
    lanes = Lanes(history, Rules(), RewardConfig(), START, STOP)
    firsts = history.sessions.is_first.nonzero()[0]
    inside = firsts[(firsts > START) & (firsts < STOP - 1)]
    assert lanes.start.tolist() == [START, *inside.tolist()]
    assert lanes.stop.tolist() == [*inside.tolist(), STOP - 1]


def test_where_size_does_not_follow_equity_the_first_guess_is_right() -> None:
    history = build_history(random_bars(2_500, 1), sessions_of_length(2_500, 100), INSTRUMENT)
    risk = RiskConfig(
        initial_equity=1.5 * 2**20,  # far from a power of two: gains are added alike
        max_risk_per_trade=1.0,
        session_drawdown_limit=1.0,
        drawdown_share_per_trade=1.0,
        max_leverage=1e6,
    )
    votes = random_votes(2_100, 3)
    assert assert_equals_the_loop(history, votes, Rules(risk=risk), START, STOP) == 2


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    share=st.sampled_from([0.01, 0.1, 1.0]),
    limit=st.sampled_from([0.001, 0.01, 1.0]),
    equity=st.sampled_from([500.0, 100_000.0, 131_072.0]),
    lot=st.sampled_from([1.0, 0.001]),
    funding=st.sampled_from([0.0, 0.01]),
)
def test_any_market_and_any_account(
    seed: int, share: float, limit: float, equity: float, lot: float, funding: float
) -> None:
    instrument = dataclasses.replace(INSTRUMENT, lot_step=lot, funding_rate=funding)
    risk = RiskConfig(initial_equity=equity, session_drawdown_limit=limit, max_leverage=50.0)
    votes = rare_votes(2_100, seed, share)
    assert_equals_the_loop(endless(seed, instrument), votes, Rules(risk=risk), START, STOP)
