"""The figures of the same trades and days by independent libraries."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from rllib_tactical.backtest.comparison import Evaluation
from rllib_tactical.backtest.metrics import daily_pnl

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    empyrical = pytest.importorskip("empyrical", reason="comes with the extra dev")


@pytest.fixture(scope="module")
def returns(evaluation: Evaluation) -> pd.Series:
    daily = daily_pnl(evaluation.policy.result)
    values = (daily["pnl"] / daily["opening"]).to_numpy()
    return pd.Series(values, index=pd.bdate_range("2024-01-01", periods=len(daily)))


def test_sharpe_ratio(evaluation: Evaluation, returns: pd.Series) -> None:
    assert evaluation.policy.metrics["sharpe"] == pytest.approx(empyrical.sharpe_ratio(returns))


def test_return_from_days(evaluation: Evaluation, returns: pd.Series) -> None:
    found = empyrical.cum_returns_final(returns)
    assert evaluation.policy.metrics["return"] == pytest.approx(found)


def test_best_and_worst_day(evaluation: Evaluation, returns: pd.Series) -> None:
    daily = daily_pnl(evaluation.policy.result)
    opening = daily["opening"].to_numpy()
    metrics = evaluation.policy.metrics
    best, worst = int(np.argmax(daily["pnl"])), int(np.argmin(daily["pnl"]))
    assert metrics["best_day"] == pytest.approx(returns.iloc[best] * opening[best])
    assert metrics["worst_day"] == pytest.approx(returns.iloc[worst] * opening[worst])


def test_drawdown_of_every_bar(evaluation: Evaluation) -> None:
    equity = evaluation.policy.result.equity["equity"]
    found = empyrical.max_drawdown(equity.pct_change().fillna(0.0))
    assert evaluation.policy.metrics["max_drawdown"] == pytest.approx(-found)


def test_drawdown_of_every_session(evaluation: Evaluation) -> None:
    result = evaluation.policy.result
    equity, worst = result.equity["equity"].to_numpy(), 0.0
    for _, rows in result.equity.groupby("session"):
        # a session's peak begins with the equity that the one before ended with
        first = max(0, int(rows.index[0]) - 1)
        curve = pd.Series(equity[first : int(rows.index[-1]) + 1])
        worst = max(worst, -empyrical.max_drawdown(curve.pct_change().fillna(0.0)))
    assert evaluation.policy.metrics["max_session_drawdown"] == pytest.approx(worst)


def test_trades_as_backtesting_py_counts_them(evaluation: Evaluation) -> None:
    """Its statistics of the same trades; they are ratios of the trades' P&L."""
    stats = pytest.importorskip("backtesting._stats", reason="comes with the extra bench")
    trades, metrics = evaluation.policy.result.trades, evaluation.policy.metrics
    equity = evaluation.policy.result.equity
    index = pd.RangeIndex(len(equity))
    start = evaluation.policy.result.start
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
    bars = evaluation.policy.result.tape.bars
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
