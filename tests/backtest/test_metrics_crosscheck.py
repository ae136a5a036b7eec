"""The figures of the same trades and days by independent libraries."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from rllib_tactical.backtest.comparison import Comparison
from rllib_tactical.backtest.metrics import daily_pnl

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    empyrical = pytest.importorskip("empyrical", reason="comes with the extra dev")


@pytest.fixture(scope="module")
def returns(comparison: Comparison) -> pd.Series:
    daily = daily_pnl(comparison.policy.result)
    values = (daily["pnl"] / daily["opening"]).to_numpy()
    return pd.Series(values, index=pd.bdate_range("2024-01-01", periods=len(daily)))


def test_sharpe_ratio(comparison: Comparison, returns: pd.Series) -> None:
    assert comparison.policy.metrics["sharpe"] == pytest.approx(
        empyrical.sharpe_ratio(returns, annualization=365)  # of a 24/7 calendar
    )


def test_return_from_days(comparison: Comparison, returns: pd.Series) -> None:
    found = empyrical.cum_returns_final(returns)
    assert comparison.policy.metrics["return"] == pytest.approx(found)


def test_best_and_worst_day(comparison: Comparison, returns: pd.Series) -> None:
    daily = daily_pnl(comparison.policy.result)
    opening = daily["opening"].to_numpy()
    metrics = comparison.policy.metrics
    best, worst = int(np.argmax(daily["pnl"])), int(np.argmin(daily["pnl"]))
    assert metrics["best_day"] == pytest.approx(returns.iloc[best] * opening[best])
    assert metrics["worst_day"] == pytest.approx(returns.iloc[worst] * opening[worst])


def test_drawdown_of_every_bar(comparison: Comparison) -> None:
    equity = comparison.policy.result.equity["equity"]
    found = empyrical.max_drawdown(equity.pct_change().fillna(0.0))
    assert comparison.policy.metrics["max_drawdown"] == pytest.approx(-found)


def test_drawdown_of_every_session(comparison: Comparison) -> None:
    result = comparison.policy.result
    equity, worst = result.equity["equity"].to_numpy(), 0.0
    for _, rows in result.equity.groupby("session"):
        # a session's peak begins with the equity that the one before ended with
        first = max(0, int(rows.index[0]) - 1)
        curve = pd.Series(equity[first : int(rows.index[-1]) + 1])
        worst = max(worst, -empyrical.max_drawdown(curve.pct_change().fillna(0.0)))
    assert comparison.policy.metrics["max_session_drawdown"] == pytest.approx(worst)


def test_trades_as_backtesting_py_counts_them(comparison: Comparison) -> None:
    """Its statistics of the same trades; they are ratios of the trades' P&L."""
    stats = pytest.importorskip("backtesting._stats", reason="comes with the extra bench")
    trades, metrics = comparison.policy.result.trades, comparison.policy.metrics.to_dict()["values"]
    equity = comparison.policy.result.equity
    index = pd.RangeIndex(len(equity))
    start = comparison.policy.result.start
    sign = np.where(trades["side"] == "long", 1, -1)
    rows = pd.DataFrame(
        {
            "Size": sign * trades["quantity"],
            "EntryBar": trades["entry_bar"] - start,
            "ExitBar": trades["exit_bar"] - start,
            "EntryPrice": trades["entry_price"],
            "ExitPrice": trades["exit_price"],
            "PnL": trades["pnl"],
            "Commission": 0.0,
            "ReturnPct": trades["pnl"] / (trades["entry_price"] * trades["quantity"]),
            "EntryTime": trades["entry_bar"] - start,
            "ExitTime": trades["exit_bar"] - start,
        }
    )
    rows["Duration"] = rows["ExitTime"] - rows["EntryTime"]
    bars = comparison.policy.result.history.bars
    part = slice(start, start + len(equity))
    data = pd.DataFrame(
        {
            "Open": bars.open[part],
            "High": bars.high[part],
            "Low": bars.low[part],
            "Close": bars.close[part],
        },
        index=index,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = stats.compute_stats(rows, equity["equity"].to_numpy(), data, None)
    assert found["# Trades"] == metrics["trades"]
    assert found["Win Rate [%]"] == pytest.approx(100 * metrics["win_rate"])
    assert found["Return [%]"] == pytest.approx(100 * metrics["return"])
    assert found["Max. Drawdown [%]"] == pytest.approx(-100 * metrics["max_drawdown"])
    # its profit factor is of returns, ours of dollars: the same with every trade's notional equal
    pct = rows["ReturnPct"]
    assert found["Profit Factor"] == pytest.approx(pct[pct > 0].sum() / -pct[pct < 0].sum())
