from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rllib_tactical.backtest.engine import hold_votes, run_backtest
from rllib_tactical.backtest.metrics import (
    DEFINITIONS,
    Metrics,
    accuracies,
    compute_metrics,
    daily_pnl,
    max_drawdown,
    sharpe_ratio,
)
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.simulation.history import MarketHistory
from tests.backtest.scenes import START, result_of


def metrics_of(pnl: list[float], **columns: list[Any]) -> Metrics:
    """Return the metrics of trades with these P&Ls, one after the other in one session."""
    equity = (100_000 + np.cumsum([0.0, *pnl])).tolist()
    if len(equity) < 2:
        equity.append(equity[-1])
    trades = [
        {"pnl": value, "exit_row": row + 1}
        | {name: values[row] for name, values in columns.items()}
        for row, value in enumerate(pnl)
    ]
    return compute_metrics(result_of(equity, [0] * len(equity), trades))


def test_wins_and_losses() -> None:
    metrics = metrics_of([300.0, -100.0, 100.0, -60.0, 0.0])
    assert metrics["net_pnl"] == pytest.approx(240.0)
    assert metrics["return"] == pytest.approx(0.0024)
    assert metrics["trades"] == 5
    assert metrics["win_rate"] == pytest.approx(2 / 5)
    assert metrics["profit_factor"] == pytest.approx(400 / 160)
    assert metrics["payoff_ratio"] == pytest.approx(200 / 80)
    assert metrics["average_win"] == pytest.approx(200.0)
    assert metrics["average_loss"] == pytest.approx(-80.0)
    assert metrics["average_trade"] == pytest.approx(48.0)


def test_a_lost_account_counts_the_days_to_its_loss() -> None:
    equity = [100_000.0, 90_000.0, -5_000.0, -5_000.0, -5_000.0, -5_000.0]
    result = result_of(equity, [0, 0, 1, 1, 2, 3])
    assert result.lost_row == 2
    assert result_of([100_000.0, 90_000.0], [0, 0]).lost_row is None
    metrics = compute_metrics(result)
    assert metrics["days"] == 2
    assert metrics["worst_day"] == -95_000.0
    assert metrics["max_drawdown"] == 1.05
    returns = daily_pnl(result)["return"].tolist()
    assert returns == pytest.approx([-0.1, -95 / 90, 0.0, 0.0])
    deviation = np.std(returns[:2], ddof=1)
    assert metrics["sharpe"] == pytest.approx(np.mean(returns[:2]) / deviation * math.sqrt(365))


def test_only_wins_have_no_profit_factor() -> None:
    metrics = metrics_of([10.0, 20.0])
    assert metrics["profit_factor"] is None
    assert metrics["payoff_ratio"] is None
    assert metrics["average_loss"] is None
    assert metrics.reasons["profit_factor"] == "no trade lost"
    assert metrics["win_rate"] == 1.0


def test_only_losses_have_a_profit_factor_of_zero() -> None:
    metrics = metrics_of([-10.0])
    assert metrics["profit_factor"] == 0.0
    assert metrics["payoff_ratio"] is None
    assert metrics.reasons["payoff_ratio"] == "no trade won"


def test_accuracy_of_each_agent() -> None:
    trades = pd.DataFrame(
        {
            # long won, long lost, short won, short lost, long went nowhere (+$5)
            "side": ["long", "long", "short", "short", "long"],
            "pnl": [50.0, -50.0, 50.0, -50.0, 5.0],
            # right, wrong, right, right (it said long), right (hold when |P&L| < $10)
            "vote_fvg": [1, 1, -1, 1, 0],
            # wrong, right (it said short), wrong (hold), wrong, right (+1 and P&L > 0)
            "vote_momentum": [-1, -1, 0, -1, 1],
            # execute 0 and aggressive +1 side with the trade, wait -1 is a hold:
            # right, wrong, right, wrong (waited), right (waited)
            "vote_entry": [0, 1, 1, -1, -1],
        }
    )
    found = accuracies(trades)
    assert found["fvg"] == pytest.approx(4 / 5)
    assert found["momentum"] == pytest.approx(2 / 5)
    assert found["entry"] == pytest.approx(3 / 5)
    assert found["ensemble"] == pytest.approx(3 / 5)


def test_accuracy_of_entry_and_ensemble_by_what_brackets_earn() -> None:
    outcomes = pd.DataFrame(
        {
            # executed and won, executed and lost, waited and would have lost, waited and won,
            # executed below the threshold and won
            "waits": [False, False, True, True, False],
            "winner": [1, 1, 0, 0, -1],
            "pnl": [5.0, -5.0, -1.0, 1.0, 2.0],
        }
    )
    result = dataclasses.replace(result_of([1.0, 1.0], [0, 0]), outcomes=outcomes)
    metrics = compute_metrics(result)
    assert metrics["accuracy_entry"] == pytest.approx(3 / 5)
    assert metrics["accuracy_ensemble"] == pytest.approx(2 / 3)
    assert metrics["win_rate"] is None
    alone = compute_metrics(dataclasses.replace(result, outcomes=None))
    assert alone["accuracy_ensemble"] is None
    assert alone.reasons["accuracy_ensemble"] == "worked out for the policy only"


def test_a_hold_is_wrong_from_ten_dollars_on() -> None:
    trades = {"side": ["long"] * 3, "pnl": [9.99, 10.0, -9.99], "vote_momentum": [1, 1, 1]}
    found = accuracies(pd.DataFrame(trades | {"vote_fvg": [0, 0, 0], "vote_entry": [0, 0, 0]}))
    assert found["fvg"] == pytest.approx(2 / 3)


def test_days_are_sessions_and_include_those_without_a_trade() -> None:
    equity = [1000.0, 1010.0, 1010.0, 1010.0, 1030.0, 1015.0]
    result = result_of(equity, [7, 7, 8, 8, 9, 9], [{"exit_row": 1}, {"exit_row": 5}])
    daily = daily_pnl(result)
    assert daily["session"].tolist() == [7, 8, 9]
    assert daily["pnl"].tolist() == [10.0, 0.0, 5.0]
    assert daily["opening"].tolist() == [1000.0, 1010.0, 1010.0]
    assert daily["trades"].tolist() == [1, 0, 1]
    metrics = compute_metrics(result)
    assert metrics["days"] == 3
    assert metrics["trades_per_day"] == pytest.approx(2 / 3)
    assert metrics["daily_pnl_mean"] == pytest.approx(5.0)
    assert metrics["daily_pnl_std"] == pytest.approx(5.0)
    assert (metrics["best_day"], metrics["worst_day"]) == (10.0, 0.0)
    returns = [10 / 1000, 0.0, 5 / 1010]
    # the scene's calendar is 24/7, which has 365 sessions a year
    expected = np.mean(returns) / np.std(returns, ddof=1) * math.sqrt(365)
    assert metrics["sharpe"] == pytest.approx(expected)


def test_sharpe_by_hand() -> None:
    # mean 0.01, sample standard deviation 0.02: 0.5 a day
    assert sharpe_ratio(np.array([0.03, -0.01, 0.01])) == pytest.approx(0.5 * math.sqrt(252))
    assert sharpe_ratio(np.array([0.01])) is None
    assert sharpe_ratio(np.array([0.01, 0.01])) is None


def test_drawdown_is_a_share_of_the_peak_before_it() -> None:
    assert max_drawdown(np.array([100.0, 120.0, 90.0, 130.0, 117.0])) == pytest.approx(0.25)
    assert max_drawdown(np.array([100.0, 101.0])) == 0.0


def test_session_drawdown_starts_afresh_every_session(history: MarketHistory) -> None:
    from tests.backtest.test_engine import random_votes

    result = run_backtest(history, random_votes(800, 1), Rules(), 500, 1_300)
    equity, worst = result.equity, 0.0
    opening = result.initial_equity
    for _, part in equity.groupby("session"):
        curve = np.concatenate([[opening], part["equity"]])
        worst, opening = max(worst, max_drawdown(curve)), curve[-1]
    assert compute_metrics(result)["max_session_drawdown"] == pytest.approx(worst)


def test_costs_and_their_share() -> None:
    metrics = metrics_of([40.0, -20.0], costs=[10.0, 20.0])
    assert metrics["costs"] == 30.0
    assert metrics["cost_share"] == pytest.approx(30 / (30 + 50))  # 20 net are 50 before costs


def test_stop_adherence_counts_stops_filled_at_their_price() -> None:
    # half a spread is 0.125 and half a tick is allowed: long at 98 may fill down to 97.75
    metrics = metrics_of(
        [-1.0] * 5,
        side=["long", "long", "short", "short", "long"],
        exit_reason=["stop", "stop", "stop", "stop", "target"],
        stop=[98.0, 98.0, 102.0, 102.0, 98.0],
        exit_price=[97.875, 97.0, 102.125, 102.25, 90.0],
    )
    assert metrics["stop_adherence"] == pytest.approx(3 / 4)
    assert metrics["stop_gaps"] == 0.0


def test_a_bar_that_opens_beyond_the_stop_is_a_gap_and_no_lack_of_discipline() -> None:
    # the last bar opened at 100: beyond the long's stop at 101, beyond the short's at 99
    metrics = metrics_of(
        [-1.0] * 4,
        side=["long", "long", "short", "short"],
        exit_reason=["stop"] * 4,
        bars_held=[2, 2, 2, 2],
        stop=[101.0, 101.0, 99.0, 98.0],
        exit_price=[99.875, 99.5, 100.125, 98.125],  # as modeled, worse, as modeled, before
    )
    assert metrics["stop_gaps"] == 1.0
    assert metrics["stop_adherence"] == pytest.approx(3 / 4)


def test_leverage_violations_and_sizing() -> None:
    # 100 x quantity x 10 dollars of notional against 5 x equity
    metrics = metrics_of(
        [1.0] * 4,
        quantity=[2.0, 500.0, 500.5, 2.0],
        requested=[2.0, 500.0, 500.5, 3.0],
        equity_before=[100_000.0] * 4,
    )
    assert metrics["leverage_violations"] == 1
    assert metrics["sizing_accuracy"] == pytest.approx(3 / 4)


def test_slippage_time_in_market_sides_and_exits() -> None:
    metrics = metrics_of(
        [10.0, -4.0, 6.0],
        slippage=[0.001, -0.0004, 0.0],
        side=["long", "short", "long"],
        exit_reason=["target", "stop", "target"],
    )
    assert metrics["slippage"] == pytest.approx(0.0002)
    assert metrics["long_trades"] == {"trades": 2, "pnl": 16.0}
    assert metrics["short_trades"] == {"trades": 1, "pnl": -4.0}
    assert metrics["exits"] == {
        "stop": {"trades": 1, "pnl": -4.0},
        "target": {"trades": 2, "pnl": 16.0},
    }


def test_time_in_market_counts_closes_with_a_position() -> None:
    result = result_of([1.0, 1.0, 1.0, 1.0], [0] * 4)
    result.equity["position"] = [0.0, 2.0, -2.0, 2.0]
    assert compute_metrics(result)["time_in_market"] == 0.75


def test_bonus_share() -> None:
    result = result_of([1.0, 1.0, 1.0], [0, 0, 0])
    result.base[:] = [0.5, -0.5]  # counts once per agent: 3
    result.bonus[:] = [[0.2, 0.2, 0.2], [-0.1, 0.3, 0.0]]  # 1
    assert compute_metrics(result)["bonus_share"] == pytest.approx(1 / 4)


def test_without_a_trade_everything_undefined_is_null_with_a_reason(history: MarketHistory) -> None:
    metrics = compute_metrics(run_backtest(history, hold_votes(200), Rules(), START, START + 200))
    assert list(metrics.values) == list(DEFINITIONS)
    undefined = {name for name, value in metrics.values.items() if value is None}
    assert undefined == set(metrics.reasons)
    assert undefined == {
        "win_rate",
        "profit_factor",
        "payoff_ratio",
        "average_win",
        "average_loss",
        "average_trade",
        "accuracy_fvg",
        "accuracy_momentum",
        "accuracy_entry",
        "accuracy_ensemble",
        "calibration_error",
        "sharpe",
        "cost_share",
        "stop_adherence",
        "stop_gaps",
        "sizing_accuracy",
        "slippage",
        "bonus_share",
    }
    assert metrics.reasons["win_rate"] == "no trade was made"
    assert metrics["net_pnl"] == 0.0
    json.dumps(metrics.to_dict(), allow_nan=False)


def test_a_value_that_is_not_finite_becomes_null() -> None:
    metrics = Metrics()
    metrics.put("ratio", math.inf)
    metrics.put("other", math.nan, "for this reason")
    assert metrics.values == {"ratio": None, "other": None}
    assert metrics.reasons == {"ratio": "not a finite number", "other": "for this reason"}
