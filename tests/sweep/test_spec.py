"""Sweep files: every shipped one loads, and what is wrong is named."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from rllib_tactical.config.loader import from_dict
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.config.training import ValidationConfig
from rllib_tactical.errors import ConfigError, TrainingError, UnreadableError
from rllib_tactical.rl.run_description import cpus_of
from rllib_tactical.sweep.runner import bundles_of, room_for
from rllib_tactical.sweep.spec import SweepSpec, load_sweep, parse_sweep, with_changes

LR = {"training.actor_lr": {"log_uniform": [0.0001, 0.001]}}


def parse(**sweep: Any) -> SweepSpec:
    return parse_sweep({"tactical_sweep": {"space": LR, **sweep}}, "sweep.yaml")


def test_every_shipped_sweep_loads_and_covers_what_it_is_for(project_root: Path) -> None:
    specs = {path.stem: load_sweep(path) for path in (project_root / "tune_configs").glob("*.yaml")}
    assert {name: (spec.search, spec.scheduler) for name, spec in specs.items()} == {
        "smoke": ("random", "none"),
        "random_asha": ("random", "asha"),
        "optuna_asha": ("optuna", "asha"),
        "pbt": ("random", "pbt"),
        "grid": ("grid", "none"),
    }
    assert specs["grid"].trials == 2 * 3 * 2 * 2
    keys = {domain.key for spec in specs.values() for domain in spec.domains.domains}
    for swept in (
        "training.actor_lr",
        "model.hidden_sizes",
        "agents.fvg.exploration_temperature",
        "rewards",
        "rewards.synergy_bonus",
        "aggregation.execution_threshold",
        "training.episodes.cost_factors",
    ):
        assert swept in keys


@pytest.mark.parametrize(
    ("sweep", "words"),
    [
        ({"sample": 3}, "sweep.yaml: sample: Unexpected keyword"),
        ({"search": "bayes"}, "sweep.yaml: search"),
        ({"samples": 0}, "samples must be >= 1, found 0"),
        ({"asha": {"grace": 0}}, "asha.grace must be >= 1"),
        ({"asha": {"rungs": 1}}, "asha.rungs: Unexpected keyword"),
        ({"config": {"training": {"epoch": 3}}}, "config: training.epoch: Unexpected keyword"),
        ({"config": {"training": {"splits": [0.8, 0.0, 0.2]}}}, "must leave bars for validation"),
        ({"space": {}}, "space must name at least one key"),
        ({"space": {"training.lr": {"choice": [0.1]}}}, "training.lr is not a key"),
        ({"space": {"training": {"choice": [1]}}}, "training is not a key"),
        ({"space": {"training.actor_lr": {"normal": [0, 1]}}}, "space.training.actor_lr must be"),
        ({"space": {"training.actor_lr": {"uniform": ["1e-4", 1]}}}, "without quotes"),
        ({"space": {"training.actor_lr": {"uniform": [0.2, 0.1]}}}, "low < high"),
        ({"space": {"training.actor_lr": {"log_uniform": [0, 1]}}}, "must begin above 0"),
        ({"space": {"training.gamma": {"uniform": [0.5, 1.5]}}}, "gamma must be in (0, 1]"),
        ({"space": {"training.epochs": {"uniform": [1, 4]}}}, "space.training.epochs"),
        ({"space": {"training.epochs": {"integer": [1.5, 4]}}}, "two whole numbers"),
        ({"space": {"rewards": {"choice": ["full", "none"]}}}, "presets are"),
        ({"space": {"training.clip_ratio": {"choice": [0.1, 0.1]}}}, "names a value twice"),
        ({"space": {"training.splits": {"choice": [1]}}}, "cannot be swept: trials are compared"),
        ({"space": {"training.iterations": {"choice": [1]}}}, "set it in config"),
        ({"space": {"service.poll_s": {"choice": [1]}}}, "does not take part in training"),
        ({"search": "grid"}, "must be a choice with search grid, found log_uniform"),
        ({"scheduler": "pbt", "search": "optuna"}, "scheduler pbt needs search random"),
        (
            {"scheduler": "pbt", "space": {"model.hidden_sizes": {"choice": [[8], [16]]}}},
            "cannot change within a trial",
        ),
        ({"scheduler": "pbt", "pbt": {"interval": 15}}, "pbt.interval must be a multiple"),
    ],
)
def test_what_is_wrong_is_named(sweep: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(**sweep)
    assert words in str(error.value)
    assert str(error.value).startswith("sweep.yaml: ")


def test_a_file_that_is_no_sweep_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match="cannot be read"):
        load_sweep(tmp_path / "missing.yaml")
    (tmp_path / "config.yaml").write_text("tactical_marl: {}")
    with pytest.raises(ConfigError, match="one top-level key tactical_sweep is required"):
        load_sweep(tmp_path / "config.yaml")


def test_values_reach_the_configuration() -> None:
    spec = parse(
        space={
            "rewards": {"choice": ["full", "pnl_only"]},
            "rewards.synergy_bonus": {"uniform": [0.0, 0.2]},
            "model.hidden_sizes": {"choice": [[8], [16, 8]]},
            "training.epochs": {"integer": [1, 4]},
        }
    )
    drawn = {
        "rewards": "pnl_only",
        "rewards.synergy_bonus": 0.1,
        "model.hidden_sizes": "[16, 8]",
        "training.epochs": 3,
    }
    config = spec.domains.applied(spec.config, drawn)
    assert config.model.hidden_sizes == (16, 8)
    assert config.training.epochs == 3
    # a weight named beside a preset counts
    assert (config.rewards.synergy_bonus, config.rewards.execution_bonus) == (0.1, 0.0)
    assert config.risk == spec.config.risk


def test_a_spec_survives_its_description_and_its_identity_leaves_out_what_may_differ() -> None:
    spec = parse(scheduler="asha")
    assert from_dict(SweepSpec, spec.describe(), "again") == spec
    assert with_changes(spec, {}, samples=99, max_concurrent=1).identity() == spec.identity()
    assert with_changes(spec, {}, seed=1).identity() != spec.identity()
    assert with_changes(spec, {"iterations": 7}).identity() != spec.identity()


def test_trials_are_as_many_as_there_are_resources_for() -> None:
    spec = with_changes(parse(), {"num_env_runners": 2})
    assert bundles_of(spec.config, 1) == [{"CPU": 1.0}] * 3
    assert room_for(spec.config, 1, {"CPU": 10.0}) == 3
    with pytest.raises(TrainingError, match=r"a trial needs 3 CPU .* the Ray cluster has 2"):
        room_for(spec.config, 1, {"CPU": 2.0})
    gpu = with_changes(parse(), {"num_env_runners": 1, "num_learners": 1, "learner_gpus": 1})
    with pytest.raises(ConfigError, match="the Ray cluster must have 1 GPUs, found 0"):
        room_for(gpu.config, 1, {"CPU": 16.0})


def test_a_validation_worker_without_an_instrument_needs_no_cpu() -> None:
    training = parse().config.training
    config = TacticalConfig(
        training=dataclasses.replace(
            training, num_env_runners=1, validation=ValidationConfig(workers=4)
        )
    )
    assert [len(bundles_of(config, count)) for count in (1, 3, 9)] == [3, 5, 6]
    assert [cpus_of(config, count) for count in (1, 3, 9)] == [2, 4, 5]


def test_changed_values_stay_within_their_domains() -> None:
    spec = parse(space=LR | {"training.epochs": {"integer": [1, 4]}})
    clip = spec.domains.clip()
    assert clip({"training.actor_lr": 1.0, "training.epochs": 9, "other": 1}) == {
        "training.actor_lr": 0.001,
        "training.epochs": 4,
        "other": 1,
    }
