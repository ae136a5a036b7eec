"""Population based training: members really go on from others' weights, with changed settings."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rllib_tactical.config.loader import from_dict
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.data.dataset import DataSource
from rllib_tactical.rl.algorithm.config import build_config
from rllib_tactical.rl.algorithm.weights import restore
from rllib_tactical.rl.sampling.market_ref import MarketHandle
from rllib_tactical.rl.training.market import prepare_market
from rllib_tactical.synthetic import make_market
from tests.sweep.conftest import TRAINING, Call, sweep_file

SPACE = {
    "training.actor_lr": {"log_uniform": [0.0001, 0.001]},
    "training.clip_ratio": {"choice": [0.1, 0.2, 0.3]},
    "aggregation.execution_threshold": {"uniform": [0.55, 0.65]},
}


@pytest.mark.ray
@pytest.mark.slow
def test_the_worst_go_on_from_the_best_with_changed_settings(
    bars: Path, tmp_path: Path, call: Call, ray_instance: None
) -> None:
    file = sweep_file(
        tmp_path / "pbt.yaml",
        SPACE,
        scheduler="pbt",
        samples=3,
        pbt={"interval": 1, "quantile": 0.34, "resample": 0.0},
        training={"iterations": 3},
    )
    out = tmp_path / "out"
    code, text, err = call("tune", "--sweep", file, "--data", bars, "--out", out)
    assert code == 0, err
    summary = json.loads((out / "summary.json").read_text())
    changed = 0
    for trial in summary["trials"]:
        assert trial["status"] == "finished"
        folder = out / "trials" / f"{trial['trial']:04d}"
        state = json.loads((folder / "trial.json").read_text())
        run = json.loads((folder / "run.json").read_text())["config"]
        rows = [json.loads(line) for line in (folder / "progress.jsonl").read_text().splitlines()]
        assert [row["iteration"] for row in rows] == [1, 2, 3]
        assert run["training"]["actor_lr"] == state["values"]["training.actor_lr"]
        assert run["training"]["clip_ratio"] == state["values"]["training.clip_ratio"]
        for source in state.get("adopted", []):
            changed += 1
            assert source["trial"] != trial["trial"]
        # one change at a time multiplies the rate of whom it was taken from
        assert 0.0001 <= state["values"]["training.actor_lr"] <= 0.001
        if "adopted" in state:
            assert list(folder.glob("abandoned-*.parquet"))
    assert changed > 0, "nobody was ever perturbed"
    told = [change for trial in summary["trials"] for change in trial["changes"]]
    assert told
    table = pd.read_parquet(out / "trials.parquet")
    assert any("given up after" in name for name in table.columns)
    code, text, err = call("tune", "--data", bars, "--out", out, "--resume")
    assert code == 0, err
    assert "3 are done" in text


@pytest.mark.ray
def test_restored_weights_learn_at_the_rates_of_the_new_configuration(
    bars: Path, tmp_path: Path, ray_instance: None
) -> None:
    config = from_dict(TacticalConfig, {"training": TRAINING}, "test")
    source = DataSource(bars, make_market("momentum", 1, 1_000, 0.0).instrument)
    market = prepare_market([source], config)
    handle = MarketHandle(market.spec)
    algorithm = build_config(config, handle, market.standardization).build_algo()
    algorithm.train()
    algorithm.save_to_path(str(tmp_path / "saved"))
    moments = algorithm.learner_group.get_state()
    algorithm.stop()
    other = dataclasses.replace(
        config,
        training=dataclasses.replace(
            config.training, actor_lr=7e-4, critic_lr=5e-3, actor_lr_end_factor=1.0
        ),
    )
    algorithm = build_config(other, handle, market.standardization).build_algo()
    restore(algorithm, tmp_path / "saved")
    learner = algorithm.learner_group._learner
    # for the first update already: RLlib alone would make it at the checkpoint's rates
    learner.before_gradient_based_update(timesteps={})
    rates = {
        name: group["lr"]
        for name, optimizer in learner._named_optimizers.items()
        for group in optimizer.param_groups
    }
    assert {rate for name, rate in rates.items() if "critic" not in name} == {7e-4}
    assert {rate for name, rate in rates.items() if "critic" in name} == {5e-3}
    steps = [
        float(state["step"])
        for optimizer in learner._named_optimizers.values()
        for state in optimizer.state.values()
    ]
    assert steps and min(steps) > 0, "the moments were not restored"
    assert moments
    assert np.isfinite(list(rates.values())).all()
    algorithm.stop()
