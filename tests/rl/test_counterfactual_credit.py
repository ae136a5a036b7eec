"""A training with ``credit: counterfactual``: resumed, exported and traded like any other."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from rllib_tactical.artifacts.run_folder import RunFolder, read_weights
from rllib_tactical.backtest.engine import bundle_votes, run_backtest
from rllib_tactical.bundle.export import export_run
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.config.training import CounterfactualConfig
from rllib_tactical.domain.types import AGENTS
from rllib_tactical.rl import train
from rllib_tactical.synthetic import make_market
from tests.rl.small import small_config

pytestmark = pytest.mark.ray


def config_of(iterations: int) -> TacticalConfig:
    return small_config(
        iterations=iterations,
        actor_lr_end_factor=1.0,  # the line of a shorter run is another one
        credit="counterfactual",
        counterfactual=CounterfactualConfig(pretraining_passes=3.0),
    )


def test_a_resumed_run_is_the_uninterrupted_one_and_its_bundle_trades(bars, tmp_path, ray_instance):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train([bars], whole, config_of(3), log=lambda line: None)
    train([bars], cut, config_of(1), log=lambda line: None)
    begun = read_weights(RunFolder(cut).checkpoints()[-1])
    train([bars], cut, config_of(3), resume=True, log=lambda line: None)
    one, other = (read_weights(RunFolder(path).checkpoints()[-1]) for path in (whole, cut))
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(other[name], value)
    assert np.any(begun["entry.fc1.weight"] != one["entry.fc1.weight"])

    # the error of predicted outcomes is watched like any other loss
    rows = [json.loads(line) for line in (cut / "progress.jsonl").read_text().splitlines()]
    assert len(rows) == 3
    assert all(row[f"outcome_loss_{agent}"] > 0 for row in rows for agent in AGENTS)

    # a bundle has the actors' weights and nothing of the table
    bundle = export_run(whole, tmp_path / "bundle")
    assert bundle.weights.keys() == one.keys()
    history = make_market("momentum", 1_001, 3_000, 0.0).history()
    history = dataclasses.replace(history, instrument=bundle.instrument)
    t = np.arange(history.first_decision, len(history))
    for scale in (1.0, 0.125, 0.01):
        votes = bundle_votes(bundle, history, t, scale)
        result = run_backtest(history, votes, bundle.rules, int(t[0]), len(history))
        if len(result.trades):
            return
    pytest.fail("no trade at any scale")
