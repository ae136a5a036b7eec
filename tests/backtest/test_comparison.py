from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from rllib_tactical.backtest.comparison import (
    Comparison,
    compare_bundle,
    train_confidence_of,
    training_config_of,
)
from rllib_tactical.backtest.engine import bundle_votes, hold_votes, run_backtest
from rllib_tactical.backtest.metrics import TABLE_METRICS
from rllib_tactical.backtest.targets import TARGETS
from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.config.training import TrainingConfig
from rllib_tactical.domain.decision.votes import constant_votes
from rllib_tactical.domain.simulation.history import MarketHistory


@pytest.mark.slow
def test_a_bundle_beside_its_baselines_and_an_extra_policy(
    bundle: Bundle, history: MarketHistory
) -> None:
    stages: list[str] = []
    comparison = compare_bundle(
        bundle,
        history,
        400,
        1_400,
        extra={"oracle": ("Oracle", hold_votes(1_000))},
        stage=stages.append,
    )
    votes = bundle_votes(bundle, history, np.arange(400, 1_400))
    alone = run_backtest(history, votes, bundle.rules, 400, 1_400)
    assert comparison.policy.result.net_pnl == alone.net_pnl
    assert len(alone.trades) > 0
    names = ["policy", "no_trades", "buy_and_hold", "always_long", "random", "rule_based", "oracle"]
    assert [run.name for run in comparison.runs] == names
    assert [row["name"] for row in comparison.rows()] == names
    assert set(TABLE_METRICS) < set(comparison.rows()[0])
    assert stages[0] == "networks"
    assert "oracle" in stages


@pytest.mark.slow
def test_baselines_can_be_left_out(bundle: Bundle, history: MarketHistory) -> None:
    comparison = compare_bundle(bundle, history, 400, 600, with_baselines=False)
    assert comparison.baselines == ()


@pytest.mark.slow
def test_trades_by_the_training_rule_count_every_vote_alike(
    bundle: Bundle, history: MarketHistory
) -> None:
    comparison = compare_bundle(bundle, history, 400, 900, with_baselines=False)
    votes = constant_votes(comparison.policy.result.votes.index, 1.0)
    by_training_rule = run_backtest(history, votes, bundle.rules, 400, 900)
    assert comparison.train_confidence == 1.0
    assert comparison.training_rule_trades == len(by_training_rule.trades)


@pytest.mark.parametrize(("training_rule", "too_little"), [(13, True), (12, False), (0, False)])
def test_trading_less_than_half_as_often_is_flagged(
    comparison: Comparison, training_rule: int, too_little: bool
) -> None:
    result = comparison.policy.result
    run = dataclasses.replace(
        comparison.policy, result=dataclasses.replace(result, trades=result.trades[:6])
    )
    changed = dataclasses.replace(comparison, policy=run, training_rule_trades=training_rule)
    assert changed.full_rule_trades == 6
    assert changed.trades_too_little is too_little


def test_plain_values_are_strict_json(comparison: Comparison) -> None:
    document = json.loads(json.dumps(comparison.to_dict(), allow_nan=False))
    assert document["kpis"]["trades"] == len(comparison.policy.result.trades)
    assert document["baselines"]["no_trades"]["values"]["win_rate"] is None
    assert document["baselines"]["no_trades"]["undefined"]["win_rate"] == "no trade was made"
    assert document["trade_counts"]["full_rule"] == document["kpis"]["trades"]
    assert document["bars"] == 1_500


@pytest.mark.parametrize(
    "training", [{}, {"config": None}, {"config": {"training": {"train_confidence": "high"}}}]
)
def test_without_a_known_train_confidence_the_default_counts(
    bundle: Bundle, training: dict[str, object]
) -> None:
    other = dataclasses.replace(bundle, manifest=bundle.manifest | {"training": training})
    assert train_confidence_of(other) == TrainingConfig().train_confidence


def test_a_bundle_is_measured_by_the_targets_of_its_configuration(
    bundle: Bundle, history: MarketHistory
) -> None:
    assert compare_bundle(bundle, history, 500, 700, with_baselines=False).targets == TARGETS
    performance = {"accuracy_targets": {"trade_win_rate": 0.75}}
    training = {"config": {"performance": performance}}
    own = dataclasses.replace(bundle, manifest=bundle.manifest | {"training": training})
    found = compare_bundle(own, history, 500, 700, with_baselines=False).to_dict()
    assert {row["name"]: row["target"] for row in found["targets"]}["win_rate"] == 0.75
    strange = dataclasses.replace(
        bundle, manifest=bundle.manifest | {"training": {"config": {"performance": 3}}}
    )
    assert training_config_of(strange) is None
