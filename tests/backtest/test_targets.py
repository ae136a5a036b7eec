from __future__ import annotations

import pytest

from rllib_tactical.backtest.metrics import DEFINITIONS, Metrics
from rllib_tactical.backtest.targets import TARGETS, Target, plain_table, targets_with
from rllib_tactical.config.service import AccuracyTargets


@pytest.mark.parametrize(
    ("value", "status"),
    [(0.60, "met"), (0.61, "met"), (0.5999, "missed"), (0.4501, "missed"), (0.45, "critical")],
)
def test_larger_is_better(value: float, status: str) -> None:
    assert Target("win_rate", "", 0.60, 0.45).status(value) == status


@pytest.mark.parametrize(
    ("value", "status"), [(0.02, "met"), (0.0, "met"), (0.03, "missed"), (0.05, "critical")]
)
def test_smaller_is_better(value: float, status: str) -> None:
    assert Target("max_drawdown", "", 0.02, 0.05).status(value) == status


def test_an_unknown_value_is_neither_met_nor_missed() -> None:
    assert Target("sharpe", "", 1.5, 0.8).status(None) == "undefined"


def test_the_table_has_the_figures_a_backtest_can_measure() -> None:
    expected = {
        "accuracy_fvg": (0.60, 0.45),
        "accuracy_momentum": (0.60, 0.45),
        "accuracy_entry": (0.60, 0.45),
        "accuracy_ensemble": (0.70, 0.55),
        "win_rate": (0.55, 0.45),
        "headline_win_rate": (0.75, 0.45),
        "daily_pnl_mean": (100.0, -50.0),
        "sharpe": (1.5, 0.8),
        "max_drawdown": (0.02, 0.05),
        "sizing_accuracy": (0.90, 0.75),
        "stop_adherence": (0.95, 0.85),
        "leverage_violations": (0.0, 5.0),
        "trades_per_day": (12.0, 6.0),
        "slippage": (0.0002, 0.001),
    }
    assert {target.name: (target.target, target.critical) for target in TARGETS} == expected
    assert {target.measured for target in TARGETS} <= set(DEFINITIONS)


@pytest.mark.parametrize(("times", "status"), [(None, "met"), (1.5, "met"), (4.0, "missed")])
def test_over_trading_does_not_meet_the_target_of_trades_a_day(
    times: float | None, status: str
) -> None:
    metrics = Metrics()
    metrics.put("trades_per_day", 28.0)
    rows = {row["name"]: row for row in plain_table(metrics, TARGETS, times)}
    assert rows["trades_per_day"]["status"] == status
    if status == "missed":
        assert "4.0 times the trades of the oracle" in rows["trades_per_day"]["reason"]


def test_a_configuration_has_its_own_accuracies() -> None:
    own = AccuracyTargets(agent_accuracy=0.4, ensemble_accuracy=0.9, trade_win_rate=0.55)
    found = {each.name: each for each in targets_with(own)}
    assert [each.name for each in targets_with(own)] == [each.name for each in TARGETS]
    for agent in ("fvg", "momentum", "entry"):
        target = found[f"accuracy_{agent}"]
        assert target.target == 0.4
        assert target.critical == pytest.approx(0.3)
        assert [target.status(value) for value in (0.4, 0.35, 0.3)] == ["met", "missed", "critical"]
    assert found["accuracy_ensemble"].target == 0.9
    assert found["sharpe"] == next(each for each in TARGETS if each.name == "sharpe")
    assert targets_with(AccuracyTargets()) == TARGETS


def test_rows_carry_value_status_and_reason() -> None:
    metrics = Metrics()
    for target in TARGETS:
        metrics.put(target.measured, None, "no trade was made")
    metrics.put("win_rate", 0.5)
    rows = {row["name"]: row for row in plain_table(metrics)}
    assert rows["win_rate"]["status"] == "missed"
    assert rows["win_rate"]["reason"] is None
    assert rows["slippage"]["value"] is None
    assert rows["slippage"]["reason"] == "no trade was made"
