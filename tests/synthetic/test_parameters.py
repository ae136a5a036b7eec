from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.simulation.history import Split
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.simulation.what_if import WhatIf, what_if
from rllib_tactical.domain.types import FloatArray
from rllib_tactical.errors import UsageError
from rllib_tactical.synthetic import (
    MarketParameters,
    SyntheticMarket,
    make_from_parameters,
    make_market,
    parameters_named,
)
from rllib_tactical.synthetic.parameters import SESSION_BARS, TIMING_PARAMETERS, drawn_parameters

BARS = 60_000


def outcomes(market: SyntheticMarket) -> WhatIf:
    history = market.history()
    whole = Split("train", 0, len(history))
    return what_if(history, whole, Rules(), RewardConfig(), 1.0, 1.0)


def earned(market: SyntheticMarket, table: WhatIf, lag: int) -> FloatArray:
    """Return what linked signals bring whoever enters ``lag`` bars after them."""
    signals = market.signals
    known = signals.linked & (signals.bar >= table.start) & (signals.bar + lag < table.stop)
    column = (signals.side[known] < 0).astype(np.int64)
    found: FloatArray = table.pnl[signals.bar[known] + lag - table.start, column]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("family", ["gap", "momentum"])
@pytest.mark.parametrize(("edge", "cost_share"), [(110.0, 0.1), (250.0, 0.3)])
def test_a_signal_earns_the_edge_less_its_costs(
    family: Any, edge: float, cost_share: float
) -> None:
    parameters = MarketParameters(family=family, edge=edge, cost_share=cost_share)
    market = make_from_parameters(parameters, 3, BARS)
    pnl = earned(market, outcomes(market), 0)
    error = pnl.std() / np.sqrt(len(pnl))
    expected = edge * (1.0 - cost_share)
    assert pnl.mean() == pytest.approx(expected, abs=3.0 * error + 0.1 * expected)
    assert len(pnl) / (BARS / SESSION_BARS) == pytest.approx(parameters.signals, rel=0.15)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["gap", "momentum"])
def test_a_slow_signal_pays_as_much_after_calm_bars(family: Any) -> None:
    market = make_from_parameters(MarketParameters(family=family, edge=200.0, slow=60), 3, BARS)
    signals, close = market.signals, np.log(market.bars.close)
    lag = signals.jump - signals.bar
    assert lag.min() >= 2
    assert 60 <= lag.max() <= 64
    pnl = earned(market, outcomes(market), 0)
    assert pnl.mean() == pytest.approx(186.0, abs=3.0 * pnl.std() / np.sqrt(len(pnl)) + 30.0)
    # within the stop of 2 ATR, which are about 0.005, nearly all the time
    late = lag > 30
    moved = np.abs(close[signals.jump[late] - 1] - close[signals.bar[late] + 3])
    assert np.mean(moved < 0.005) > 0.95


@pytest.mark.slow
def test_on_the_timing_market_who_enters_at_once_loses_and_who_waits_earns() -> None:
    market = make_market("timing", 3, BARS)
    table = outcomes(market)
    means = [earned(market, table, lag).mean() for lag in range(8)]
    assert means[0] < -100
    assert int(np.argmax(means)) == 4
    assert means[4] > 200


def test_prices_go_against_every_signal_of_the_timing_market() -> None:
    market = make_market("timing", 4, 20_000)
    signals, bars = market.signals, market.bars
    before = signals.jump - 1
    change = signals.side * np.log(bars.close[before] / bars.close[signals.bar])
    assert np.mean(change < -0.004) > 0.9  # 2.6 units of 0.0025 less noise


def test_heavy_tails_move_more_and_less() -> None:
    def kurtosis(tails: float) -> float:
        parameters = MarketParameters(signals=1.0, tails=tails)
        close = np.log(make_from_parameters(parameters, 3, BARS).bars.close)
        moves = np.diff(close)
        quiet = moves[np.abs(moves) < 0.0075]
        return float(np.mean(quiet**4) / np.mean(quiet**2) ** 2)

    assert kurtosis(3.0) > kurtosis(0.0)


def test_sessions_open_with_a_gap_that_no_slot_crosses() -> None:
    market = make_from_parameters(MarketParameters(session_gap=2.0), 3, 30_000)
    opens = np.arange(SESSION_BARS, 30_000, SESSION_BARS)
    jump = np.log(market.bars.open[opens] / market.bars.close[opens - 1]) / 0.0025
    assert 1.5 < jump.std() < 2.5
    session = market.signals.bar // SESSION_BARS
    np.testing.assert_array_equal(session, market.signals.jump // SESSION_BARS)


def test_an_edge_that_drifts_pays_more_at_times() -> None:
    steady, drifting = (
        make_from_parameters(MarketParameters(drift=drift), 3, 115_200).signals
        for drift in (0.0, 1.0)
    )
    for signals, changes in ((steady, False), (drifting, True)):
        paid, bar = signals.paid[signals.linked], signals.bar[signals.linked]
        by_part = [paid[(bar // 14_400) % 4 == part].mean() for part in range(4)]
        assert (np.ptp(by_part) > 0.15) == changes


@pytest.mark.parametrize("name", ["timing", "drawn-3", "drawn-7"])
def test_the_first_bars_do_not_depend_on_the_number(name: str) -> None:
    long, short = make_market(name, 5, 5_000), make_market(name, 5, 2_345)
    for column in ("open", "high", "low", "close", "volume"):
        found = getattr(long.bars, column)[:2_345]
        np.testing.assert_array_equal(getattr(short.bars, column), found)
    assert np.any(make_market(name, 6, 2_345).bars.close != short.bars.close)


def test_drawn_markets_keep_to_their_ranges_and_differ() -> None:
    drawn = [drawn_parameters(seed) for seed in range(200)]
    assert len(set(drawn)) == 200
    assert {each.family for each in drawn} == {"gap", "momentum", "regime"}
    for name, low, high in (("edge", 30, 300), ("cost_share", 0.05, 0.5), ("signals", 2, 6)):
        values = [getattr(each, name) for each in drawn]
        assert low <= min(values) < max(values) <= high


def test_names_of_markets_with_parameters() -> None:
    assert parameters_named("timing") == TIMING_PARAMETERS
    assert parameters_named("drawn-12") == drawn_parameters(12)
    for name in ("gap", "drawn", "drawn-", "drawn-x", "drawn--1"):
        assert parameters_named(name) is None
    with pytest.raises(UsageError, match=r"market timing must be 0, found 0\.5"):
        make_market("timing", 1, 1_000, 0.5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"edge": 500.0}, r"edge must be in \[0, 400\], found 500"),
        ({"signals": 0.5}, r"signals must be in \[1, 6\], found 0.5"),
        ({"cost_share": float("nan")}, "cost_share must be .* found nan"),
        ({"tails": 2.0}, r"tails must be 0 or in \[2.5, 100\], found 2"),
        ({"family": "noise"}, "market must be gap, momentum or regime, found 'noise'"),
    ],
)
def test_wrong_parameters(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        MarketParameters(**values)
