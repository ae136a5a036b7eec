"""Sweep files: every shipped one loads, and what is wrong is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rllib_tactical.config.loader import from_dict
from rllib_tactical.errors import ConfigError, UnreadableError
from rllib_tactical.sweep.spec import SweepSpec, load_sweep, with_changes
from tests.sweep.conftest import parse


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


def test_a_spec_survives_its_description_and_its_identity_leaves_out_what_may_differ() -> None:
    spec = parse(scheduler="asha")
    assert from_dict(SweepSpec, spec.describe(), "again") == spec
    assert with_changes(spec, {}, samples=99, max_concurrent=1).identity() == spec.identity()
    assert with_changes(spec, {}, seed=1).identity() != spec.identity()
    assert with_changes(spec, {"iterations": 7}).identity() != spec.identity()
