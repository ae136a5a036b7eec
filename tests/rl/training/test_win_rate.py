from __future__ import annotations

import pytest

from rllib_tactical.bundle.export import _rules_of
from rllib_tactical.config.loader import parse_config
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.errors import ConfigError
from rllib_tactical.rl.training.validation import PartMetrics, Validation, combine
from rllib_tactical.rl.training.win_rate import (
    THRESHOLDS,
    Total,
    WinRateTarget,
    choices_of,
    choose,
)

CHOICES = [(1.0, 0.65), (0.5, 0.65), (1.0, 0.8), (0.5, 0.8), (1.0, 0.9)]


def test_each_scale_is_tried_by_the_rules_and_by_each_higher_threshold() -> None:
    rules = Rules().with_execution_threshold(0.8)
    assert choices_of((2.0, 1.0), rules, None) == [(2.0, 0.8), (1.0, 0.8)]
    found = choices_of((2.0, 1.0), rules, 0.75)
    assert found[:4] == [(2.0, 0.8), (1.0, 0.8), (2.0, 0.85), (1.0, 0.85)]
    assert {threshold for _, threshold in found} == {0.8} | {t for t in THRESHOLDS if t > 0.8}


def test_what_earns_most_among_those_that_reach_the_target_is_chosen() -> None:
    """Rates less one error: .72 - .032, .8 - .04 = .76, .82 - .038 = .78; few trades count not."""
    totals = [
        Total(900.0, 200, 144),
        Total(800.0, 200, 144),
        Total(500.0, 100, 80),
        Total(400.0, 100, 82),
        Total(950.0, 19, 19),
    ]
    best, found = choose(0.75, CHOICES, totals, plain=0)
    assert best == 2
    assert found.threshold == 0.8
    assert (found.win_rate, found.trades, found.net_pnl) == (0.8, 100, 500.0)
    assert (found.win_rate_before, found.trades_before, found.net_pnl_before) == (0.72, 200, 900.0)
    assert found.text() == (
        "execution threshold 0.8 for 75% profitable trades: 80% of 100 trades on validation bars, "
        "$500, instead of 72% of 200 trades, $900"
    )
    assert WinRateTarget.from_dict(found.as_dict()) == found


def test_where_no_threshold_reaches_the_target_none_is_changed() -> None:
    totals = [Total(9.0, 200, 100), *[Total(1.0, 100, 77)] * 4]  # 77% less 4.2 points
    best, found = choose(0.75, CHOICES, totals, plain=0)
    assert (best, found.threshold, found.trades) == (0, None, 200)
    assert "no execution threshold has 75% profitable trades" in found.text()
    assert _rules_of(Rules(), {"target": found.as_dict()}) == Rules()


def test_validation_has_the_figures_of_the_choice_and_the_bundle_its_threshold() -> None:
    count = len(choices_of((1.0,), Rules(), 0.75))
    part = PartMetrics(
        net_pnl=[10.0, *[5.0] * (count - 1)],
        trades=[100, *[50] * (count - 1)],
        wins=[60, *[45] * (count - 1)],
        by_date=[{"a": 10.0}, *[{"a": 5.0}] * (count - 1)],
        training_rule_trades=100,
        days=1,
        equity=1_000.0,
        calendar="24/7",
    )
    found = combine([part], (1.0,), Rules(), 0.75)
    assert found.target is not None
    assert (found.target.threshold, found.trades, found.net_pnl) == (0.7, 50, 5.0)
    assert found.win_rate == pytest.approx(0.9)
    assert [each["net_pnl"] for each in found.by_scale] == [10.0]
    assert Validation.from_dict(found.as_dict()) == found
    assert _rules_of(Rules(), found.as_dict()).aggregation.execution_threshold == 0.7
    plain = combine([part], (1.0,), Rules())
    assert (plain.target, plain.trades) == (None, 100)
    assert _rules_of(Rules(), plain.as_dict()) == _rules_of(Rules(), None) == Rules()


def test_a_target_is_a_share() -> None:
    sections = {"training": {"validation": {"target_win_rate": 75.0}}}
    with pytest.raises(ConfigError, match=r"target_win_rate must be in \(0, 1\) or null, found 75"):
        parse_config({"tactical_marl": sections}, "test")
