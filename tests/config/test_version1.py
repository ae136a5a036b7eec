"""Names of version 1: read with a hint in a user's file, silently in what the program wrote."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from rllib_tactical.artifacts.run_folder import RunFolder, config_of
from rllib_tactical.config.loader import (
    content_hash,
    load_config,
    parse_config,
    recorded_config,
    to_dict,
)
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.config.version1 import RENAMED, current_setting, with_current_names
from rllib_tactical.errors import ConfigError
from rllib_tactical.sweep.spec import parse_sweep, recorded_sweep

OLD: dict[str, Any] = {
    "model": {"critic_hidden": [8], "critic_dropout": 0.25},
    "agents": {
        agent: {"attention": [0.3] * 7, "temperature": 1.5}
        for agent in ("fvg", "momentum", "entry")
    },
    "training": {
        "clip": 0.3,
        "value_coefficient": 0.7,
        "entropy_coefficient": 0.02,
        "grad_norm": 0.9,
        "evaluation": {"every": 3},
        "batch_size": 4096,
        "minibatch_size": 512,
    },
    "performance": {
        "matrix_ms": 11.0,
        "inference_ms": 31.0,
        "aggregation_ms": 6.0,
        "total_ms": 101.0,
    },
}
"""Every name that was changed."""


def at(values: dict[str, Any], key: str) -> Any:
    found: Any = values
    for name in key.split("."):
        found = found[name]
    return found


def test_every_old_name_is_read_with_a_hint() -> None:
    hints: list[str] = []
    config = to_dict(parse_config({"tactical_marl": OLD}, "my.yaml", hints.append))
    for old, new in RENAMED.items():
        given = at(OLD, old)
        found = at(config, new)
        assert (given.items() <= found.items()) if isinstance(given, dict) else found == given, old
    (hint,) = hints
    assert hint.startswith("my.yaml: names of version 1")
    assert all(f"{old} -> {new}" in hint for old, new in RENAMED.items())


def test_the_documentation_lists_every_old_name(project_root: Path) -> None:
    page = (project_root / "docs" / "howto" / "configuration.md").read_text(encoding="utf-8")
    for old, new in RENAMED.items():
        row = f"| `{old}` | `{new}` |"
        assert re.sub(r"agents\.\w+\.", "agents.*.", row) in page


def test_a_penalty_of_version_1_is_the_number_that_is_added_today() -> None:
    hints: list[str] = []
    rewards = {"risk_penalty": 0.5, "counter_trend_penalty": 0.0}
    old = {"training": {"clip": 0.3}, "rewards": rewards}
    config = parse_config({"tactical_marl": old}, "my.yaml", hints.append)
    assert config.rewards.risk_penalty == -0.5
    assert config.rewards.counter_trend_penalty == 0.0
    assert "rewards.risk_penalty: 0.5 -> -0.5, a penalty is added" in hints[0]
    # nothing says that the file is of version 1
    with pytest.raises(ConfigError, match=r"rewards\.risk_penalty must be <= 0"):
        parse_config({"tactical_marl": {"rewards": rewards}}, "my.yaml", hints.append)


def test_names_of_today_bring_no_hint() -> None:
    hints: list[str] = []
    parse_config({"tactical_marl": to_dict(TacticalConfig())}, "my.yaml", hints.append)
    assert hints == []


def test_the_hint_goes_to_standard_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "old.yaml"
    file.write_text("tactical_marl: {training: {clip: 0.3}}")
    assert load_config(file).training.clip_ratio == 0.3
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "training.clip -> training.clip_ratio" in printed.err


@pytest.mark.parametrize("old", [old for old in RENAMED if old != "training.batch_size"])
def test_a_setting_given_by_both_names_is_refused(old: str) -> None:
    both: dict[str, Any] = {}
    for key in (old, RENAMED[old]):
        *path, name = key.split(".")
        place = both
        for part in path:
            place = place.setdefault(part, {})
        place[name] = 1
    if old == "training.minibatch_size":  # whose new name is an old one too
        both["training"]["steps_per_update"] = 512
    with pytest.raises(ConfigError, match="by one of the two names"):
        with_current_names(both, "test")


def test_the_batch_size_alone_is_that_of_today() -> None:
    assert with_current_names({"training": {"batch_size": 64}}, "test") == (
        {"training": {"batch_size": 64}},
        [],
    )
    mixed = {"training": {"batch_size": 64, "clip": 0.1, "steps_per_update": 512}}
    assert with_current_names(mixed, "test")[0]["training"]["batch_size"] == 64


def test_the_given_values_are_left_as_they_are() -> None:
    before = copy.deepcopy(OLD)
    with_current_names(OLD, "test")
    assert before == OLD


@pytest.mark.parametrize("values", [None, 3, [], {"training": None}, {"training": {"clip": None}}])
def test_what_is_no_configuration_is_left_to_the_parser(values: Any) -> None:
    with_current_names(values, "test")


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("training.clip", 0.1, ("training.clip_ratio", 0.1)),
        ("training.batch_size", 512, ("training.steps_per_update", 512)),
        ("training.minibatch_size", 64, ("training.batch_size", 64)),
        ("training.gamma", 0.9, ("training.gamma", 0.9)),
        ("rewards", "full", ("rewards", "full")),
        ("rewards.risk_penalty", 0.25, ("rewards.risk_penalty", -0.25)),
        ("rewards.counter_trend_penalty", 0, ("rewards.counter_trend_penalty", 0)),
        (
            "agents.fvg",
            {"attention": [1], "temperature": 2.0},
            ("agents.fvg", {"attention_weights": [1], "exploration_temperature": 2.0}),
        ),
    ],
)
def test_one_setting_is_renamed(key: str, value: Any, expected: tuple[str, Any]) -> None:
    assert current_setting(key, value) == expected


def test_a_run_of_version_1_is_read_silently(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {**to_dict(TacticalConfig()), **OLD}
    (tmp_path / "run.json").write_text(json.dumps({"config": config, "config_hash": "0" * 64}))
    run = RunFolder(tmp_path).read()
    assert run["config"]["training"]["clip_ratio"] == 0.3
    assert run["config_hash"] == content_hash(run["config"])
    assert config_of(run, "run") == recorded_config(config, "run")
    assert capsys.readouterr() == ("", "")


SWEEP: dict[str, Any] = {
    "config": {"training": {"batch_size": 4096, "iterations": 3}},
    "space": {
        "training.minibatch_size": {"choice": [64, 128]},
        "training.clip": {"uniform": [0.1, 0.2]},
    },
}


def test_the_space_of_a_sweep_keeps_the_names_it_was_drawn_by() -> None:
    hints: list[str] = []
    spec = parse_sweep({"tactical_sweep": SWEEP}, "s.yaml", hints.append)
    assert list(spec.space) == ["training.minibatch_size", "training.clip"]
    assert spec.config.training.steps_per_update == 4096
    drawn = {"training.minibatch_size": 64, "training.clip": 0.15}
    training = spec.domains.applied(spec.config, drawn).training
    assert (training.batch_size, training.clip_ratio) == (64, 0.15)
    assert len(hints) == 2
    assert "training.minibatch_size -> training.batch_size" in hints[1]
    again = recorded_sweep({"sweep": spec.describe()}, "folder")
    assert again == spec
    assert again.identity() == spec.identity()


def test_swept_penalties_of_version_1_are_those_that_are_added_today() -> None:
    hints: list[str] = []
    space = {**SWEEP["space"], "rewards.risk_penalty": {"uniform": [0.0, 0.5]}}
    spec = parse_sweep({"tactical_sweep": {**SWEEP, "space": space}}, "s.yaml", hints.append)
    drawn = {
        "training.minibatch_size": 64,
        "training.clip": 0.15,
        "rewards.risk_penalty": 0.25,
    }
    assert spec.domains.applied(spec.config, drawn).rewards.risk_penalty == -0.25
    assert "rewards.risk_penalty -> numbers <= 0, added" in hints[1]
    today = {"space": {"rewards.risk_penalty": {"uniform": [0.0, 0.5]}}}
    with pytest.raises(ConfigError, match=r"rewards\.risk_penalty must be <= 0"):
        parse_sweep({"tactical_sweep": today}, "s.yaml")


def test_what_may_not_be_swept_is_known_by_its_old_name() -> None:
    old = {**SWEEP, "space": {**SWEEP["space"], "training.evaluation": {"choice": [{}]}}}
    with pytest.raises(ConfigError, match="cannot be swept"):
        parse_sweep({"tactical_sweep": old}, "s.yaml")


def test_a_sweep_recorded_by_version_1_is_the_one_of_its_file() -> None:
    """Version 1 recorded every setting by its old name, and no version of the names."""
    spec = parse_sweep({"tactical_sweep": SWEEP}, "s.yaml")
    config = to_dict(spec.config)
    for old, new in reversed(RENAMED.items()):
        *path, name = new.split(".")
        value = (at(config, ".".join(path))).pop(name)
        *path, name = old.split(".")
        at(config, ".".join(path))[name] = value
    config["performance"] = {
        key: value for key, value in config["performance"].items() if not isinstance(value, dict)
    }
    recorded = {**spec.describe(), "config": config}
    del recorded["names"]
    found = recorded_sweep({"sweep": recorded}, "folder")
    assert found == spec
    assert found.identity() == spec.identity()


def test_a_setting_that_moved_is_read_from_its_old_place_and_tells_no_version() -> None:
    """Beside it ``batch_size`` has today's meaning."""
    old = {"service": {"hold_bars_after_gap": 3, "lease_s": 4.0}, "training": {"batch_size": 64}}
    sections, renamed = with_current_names(old, "test")
    assert sections == {
        "service": {"lease_s": 4.0},
        "training": {"batch_size": 64},
        "risk": {"hold_bars_after_gap": 3},
    }
    assert renamed == ["service.hold_bars_after_gap -> risk.hold_bars_after_gap"]
    assert recorded_config(old, "test").risk.hold_bars_after_gap == 3
    with pytest.raises(ConfigError, match=r"risk\.hold_bars_after_gap today"):
        with_current_names(old | {"risk": {"hold_bars_after_gap": 4}}, "test")
