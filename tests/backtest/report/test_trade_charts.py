from __future__ import annotations

import json
import math

import numpy as np
import pytest

from rllib_tactical.backtest.comparison import Comparison
from rllib_tactical.backtest.report import trade_charts as trade_metrics
from tests.backtest.scenes import result_of


def test_bars_add_up_to_the_trades(comparison: Comparison) -> None:
    result = comparison.policy.result
    total, count = result.trades["pnl"].sum(), len(result.trades)
    for make in (
        trade_metrics.hour_plot,
        trade_metrics.weekday_plot,
        trade_metrics.exit_plot,
    ):
        (bars,) = make(result)["data"]
        assert sum(bars["y"]) == pytest.approx(total, abs=0.1)
        assert sum(int(text.replace(",", "")) for text in bars["text"]) == count
    held = trade_metrics.holding_plot(result)["data"]
    assert sum(sum(trace["y"]) for trace in held) == count


def test_weekdays_are_local_and_named() -> None:
    result = result_of([1000.0, 1010.0], [0, 0], [{"pnl": 10.0}])  # 2023-11-15 is a Wednesday
    (bars,) = trade_metrics.weekday_plot(result)["data"]
    assert (bars["x"], bars["y"]) == (["Wed"], [10.0])


def test_costs_before_and_after(comparison: Comparison) -> None:
    result = comparison.policy.result
    lines = {trace["name"]: trace["y"][-1] for trace in trade_metrics.cost_plot(result)["data"]}
    costs = result.trades["costs"].sum()
    assert lines["costs"] == pytest.approx(-costs, abs=0.01)
    assert lines["net"] == pytest.approx(result.trades["pnl"].sum(), abs=0.01)
    assert lines["before costs"] == pytest.approx(lines["net"] + costs, abs=0.02)


def test_the_rolling_ratio_by_hand() -> None:
    # sessions of one bar: +1%, -1%, +2%, all of equity at the day's begin
    equity = [1000.0, 1010.0, 999.9, 1019.898]
    result = result_of(equity, [0, 1, 2, 3])
    found = trade_metrics.rolling_sharpe(result, days=2)
    assert np.isnan(found[0])
    assert found[2] == pytest.approx(0.0, abs=1e-9)
    # .5% on average, a sample deviation of 3% / sqrt(2)
    assert found[3] == pytest.approx(0.005 / (0.03 / math.sqrt(2)) * math.sqrt(365))


def test_a_flat_account_has_no_rolling_ratio() -> None:
    assert np.isnan(trade_metrics.rolling_sharpe(result_of([1000.0] * 4, [0, 1, 2, 3]), 2)).all()


def test_a_short_backtest_has_a_rolling_ratio_too() -> None:
    assert [trade_metrics.rolling_days(days) for days in (1, 9, 30, 500)] == [2, 3, 10, 63]
    equity = 1000.0 + np.random.default_rng(0).normal(size=12).cumsum()
    plot = trade_metrics.rolling_sharpe_plot(result_of(equity.tolist(), list(range(12))))
    shown = [value is not None for value in plot["data"][0]["y"]]
    assert shown == [False] * 3 + [True] * 9


def test_accuracy_and_calibration_show_every_judge(comparison: Comparison) -> None:
    result, values = comparison.policy.result, comparison.policy.metrics.to_dict()["values"]
    bars, *limits = trade_metrics.accuracy_plot(result)["data"]
    assert bars["x"] == ["fvg", "momentum", "entry", "ensemble"]
    assert bars["y"][0] == pytest.approx(100 * values["accuracy_fvg"], abs=0.01)
    assert [line["y"][0] for line in limits] == pytest.approx([60.0, 45.0])
    names = [t["name"] for t in trade_metrics.calibration_plot(result)["data"] if "name" in t]
    assert names == bars["x"]


def test_every_figure_is_plain_json(comparison: Comparison) -> None:
    result = comparison.policy.result
    for make in (
        trade_metrics.rolling_sharpe_plot,
        trade_metrics.calibration_plot,
        trade_metrics.cost_plot,
        trade_metrics.holding_plot,
        trade_metrics.session_plot,
    ):
        json.dumps(make(result), allow_nan=False)
