from __future__ import annotations

import numpy as np

from rllib_tactical.domain.simulation.history import MarketHistory, build_history
from rllib_tactical.domain.types import Bars, Sessions
from rllib_tactical.synthetic import make_market
from rllib_tactical.synthetic.oracle import side_votes
from rllib_tactical.synthetic.sessions import session_results
from tests.market import INSTRUMENT, random_history

DAY = 288


def flat_history(lengths: list[int]) -> MarketHistory:
    """Return sessions that open and close at $100 on every bar, with a range of $0.20."""
    count = sum(lengths)
    price = np.full(count, 100.0)
    bars = Bars(
        300 * np.arange(count), price, price + 0.1, price - 0.1, price, np.full(count, 1_000.0)
    )
    last = np.cumsum(lengths) - 1
    place = np.concatenate([np.arange(length) for length in lengths])
    number = np.repeat(np.arange(len(lengths)), lengths)
    elapsed = (place + 1) / np.repeat(lengths, lengths)
    is_last = np.isin(np.arange(count), last)
    return build_history(
        bars, Sessions.without_gaps(number, place == 0, is_last, elapsed), INSTRUMENT
    )


def test_a_session_that_goes_nowhere_costs_one_round_trip_however_long_it_is() -> None:
    # the warm-up of 359 bars ends in the fifth session
    history = flat_history([78, 78, 78, 78, 78, 78, 20, 30])
    long, hold = np.ones(len(history), dtype=np.int64), np.zeros(len(history), dtype=np.int64)
    traded, held = session_results(history, [side_votes(long), side_votes(hold)])
    assert traded.trades.tolist() == [1, 1, 1]
    assert traded.wins.tolist() == [0, 0, 0]
    # 400 lots, in and out, each $0.005 half spread, $0.005 slippage and $0.005 commission
    np.testing.assert_allclose(traded.cost, 400 * 2 * 0.015)
    np.testing.assert_allclose(traded.pnl, -traded.cost)
    for column in (held.pnl, held.trades, held.wins, held.cost):
        assert column.tolist() == [0, 0, 0]


def test_policies_played_together_earn_what_each_earns_alone() -> None:
    history = random_history(1_170)
    rng = np.random.default_rng(2)
    policies = [side_votes(rng.integers(-1, 2, len(history))) for _ in range(3)]
    for policy, found in zip(policies, session_results(history, policies), strict=True):
        (alone,) = session_results(history, [policy])
        assert found.trades.sum() > 0
        for column in ("pnl", "trades", "wins", "cost"):
            np.testing.assert_array_equal(getattr(found, column), getattr(alone, column))


def test_only_whole_sessions_count() -> None:
    market = make_market("gap", 3, 6 * DAY, 0.0)
    history = market.history()
    side = np.ones(len(history), dtype=np.int64)
    # the first two days hold the warm-up
    (found,) = session_results(history, [side_votes(side)])
    assert len(found.pnl) == 4
    short = make_market("gap", 3, 6 * DAY - 1, 0.0).history()
    (found,) = session_results(short, [side_votes(side[:-1])])
    assert len(found.pnl) == 3
