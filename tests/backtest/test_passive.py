from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from rllib_tactical.backtest.engine import run_backtest
from rllib_tactical.backtest.metrics import compute_metrics
from rllib_tactical.backtest.passive import passive_result
from rllib_tactical.domain.decision.orders import OrderConfig
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.simulation.history import MarketHistory
from tests.backtest.scenes import LONG, START, scene, votes_on

# 2 lots of $10 a point; half a spread is 0.125 points and commission $2 a lot and side
ROWS = [(100.0, 101.0, 99.0, 101.0), (101.0, 103.0, 101.0, 103.0), (104.0, 106.0, 104.0, 105.0)]


def test_it_buys_once_and_holds_to_the_end() -> None:
    history = scene(ROWS)
    result = passive_result(history, Rules(), START, START + 4, overnight=True)
    # bought at 100.125 for $4, valued at 105
    assert result.net_pnl == pytest.approx((105 - 100.125) * 20 - 4)
    assert result.equity["equity"].to_numpy() - 100_000 == pytest.approx(
        [0.0, (101 - 100.125) * 20 - 4, (103 - 100.125) * 20 - 4, (105 - 100.125) * 20 - 4]
    )
    trade = result.trades.iloc[0]
    assert len(result.trades) == 1
    assert (trade["exit_reason"], trade["quantity"]) == ("end_of_data", 2.0)
    assert trade["pnl"] == pytest.approx(result.net_pnl)
    assert trade["costs"] == pytest.approx(4 + 0.125 * 20)


def test_without_nights_it_sells_at_the_close_and_buys_at_the_next_open() -> None:
    history = scene(ROWS, session_bars=START + 3)  # the second bar is its session's last
    result = passive_result(history, Rules(), START, START + 4, overnight=False)
    first, second = result.trades["pnl"]
    assert first == pytest.approx((103 - 0.125 - 100.125) * 20 - 8)
    assert second == pytest.approx((105 - 104.125) * 20 - 4)  # still open at the end
    assert result.net_pnl == pytest.approx(first + second)
    assert result.trades["exit_reason"].tolist() == ["session_end", "end_of_data"]
    assert result.trades["costs"].iloc[0] == pytest.approx(8 + 0.25 * 20)
    assert result.equity["position"].tolist() == [0.0, 2.0, 0.0, 2.0]


def test_it_is_long_on_active_bars_only() -> None:
    history = scene(ROWS)
    active = np.array([False, True, False, False])
    result = passive_result(history, Rules(), START, START + 4, overnight=True, active=active)
    assert result.equity["position"].tolist() == [0.0, 0.0, 0.0, 0.0]  # bought and sold on one bar
    assert result.trades["entry_price"].tolist() == [101.125]
    assert result.net_pnl == pytest.approx((103 - 0.125 - 101.125) * 20 - 8)


def with_instrument(history: MarketHistory, **changes: float) -> MarketHistory:
    instrument = dataclasses.replace(history.instrument, **changes)  # type: ignore[arg-type]
    return dataclasses.replace(history, instrument=instrument)


@pytest.mark.parametrize("rate", [0.0, 0.001])
def test_it_is_the_simulators_trade_where_no_bracket_ends_it(rate: float) -> None:
    """The same position by the rules of every other account: fills, costs, funding, equity."""
    history = with_instrument(
        scene(ROWS * 12), funding_rate=rate, funding_hours=1, slippage_ticks=2.0
    )
    wide, count = Rules(orders=OrderConfig(stop_atr=30.0, target_atr=30.0)), 30
    traded = run_backtest(history, votes_on(count, {0: LONG}), wide, START, START + count)
    passive = passive_result(history, wide, START, START + count, overnight=True)
    assert traded.trades["exit_reason"].tolist() == ["end_of_data"]
    for column in ("equity", "position", "session_drawdown"):
        np.testing.assert_allclose(passive.equity[column], traded.equity[column], rtol=1e-12)
    for column in ("quantity", "entry_price", "exit_price", "pnl", "costs", "mae", "mfe"):
        np.testing.assert_allclose(passive.trades[column], traded.trades[column], rtol=1e-9)


@pytest.mark.parametrize("overnight", [True, False])
def test_it_trades_while_the_market_is_open_only(overnight: bool) -> None:
    rows = [(1.0, 1.0, 1.0, 1.0), *ROWS, (1.0, 1.0, 1.0, 1.0), *ROWS]
    history = scene(rows)
    closed = np.isin(np.arange(len(history)), (START + 1, START + 5))
    last = history.sessions.is_last.copy()
    last[START + 4] = True
    sessions = dataclasses.replace(history.sessions, is_open=~closed, is_last=last)
    history = dataclasses.replace(history, sessions=sessions)
    result = passive_result(history, Rules(), START, START + 9, overnight=overnight)
    entries = result.trades["entry_bar"].tolist()
    assert entries == ([START + 2] if overnight else [START + 2, START + 6])
    if not overnight:
        assert result.trades["exit_bar"].tolist() == [START + 4, START + 8]
        assert result.equity["position"].iloc[5] == 0.0
    # the bars on which it wants to be long end with a break: sold at the close before it
    wanted = np.arange(9) < 5
    result = passive_result(history, Rules(), START, START + 9, overnight=overnight, active=wanted)
    assert result.trades["exit_bar"].tolist() == [START + 4]


@pytest.mark.parametrize("overnight", [True, False])
def test_it_pays_funding_while_it_holds(overnight: bool) -> None:
    rate = 0.01
    history = with_instrument(scene(ROWS * 12), funding_rate=rate, funding_hours=1)
    whole = history.bars.timestamp_s % 3600 == 0
    free = with_instrument(history, funding_rate=0.0)
    stop = START + 30
    paying, plain = (
        passive_result(each, Rules(), START, stop, overnight=overnight) for each in (history, free)
    )
    due = np.flatnonzero(whole[START + 2 : stop]) + START + 2  # bought at the open of START + 1
    assert len(due) > 1
    paid = sum(history.bars.open[due]) * 20 * rate
    assert plain.net_pnl - paying.net_pnl == pytest.approx(paid)
    assert paying.trades["costs"].sum() - plain.trades["costs"].sum() == pytest.approx(paid)


def test_a_lost_account_is_liquidated_at_that_close() -> None:
    crash = [(30.0, 31.0, 29.0, 30.0), (90.0, 91.0, 89.0, 90.0)]
    history = with_instrument(scene([*ROWS, *crash, *ROWS]), point_value=800.0)
    result = passive_result(history, Rules(), START, START + 8, overnight=True)
    assert result.lost_row == 4
    # bought at 100.125, sold at 30 less half a spread
    assert result.net_pnl == pytest.approx((30 - 0.125 - 100.125) * 1600 - 8)
    assert result.equity["equity"].nunique() == 4 + 1
    assert result.trades["exit_reason"].tolist() == ["liquidation"]
    assert (result.equity["position"] != 0).tolist() == [False, True, True, True] + 4 * [False]


@pytest.mark.parametrize("overnight", [True, False])
def test_trades_sum_to_the_change_of_equity(history: MarketHistory, overnight: bool) -> None:
    result = passive_result(history, Rules(), 400, 1_900, overnight=overnight)
    assert result.trades["pnl"].sum() == pytest.approx(result.net_pnl)
    metrics = compute_metrics(result)
    assert metrics["trades"] == (1 if overnight else metrics["days"])
    assert (result.equity["session_drawdown"] >= 0).all()
