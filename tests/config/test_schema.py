import dataclasses
from pathlib import Path

import pytest
import yaml

from rllib_tactical.config.loader import (
    content_hash,
    load_config,
    parse_config,
    reward_preset,
    to_dict,
)
from rllib_tactical.config.schema import AgentConfig, ModelConfig, TacticalConfig
from rllib_tactical.config.service import PerformanceConfig
from rllib_tactical.config.training import TrainingConfig
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.errors import ConfigError, UnreadableError


def parsed(**sections):
    return parse_config({"tactical_marl": sections}, "test")


def test_the_shipped_file_lists_every_default(project_root: Path):
    written = yaml.safe_load((project_root / "tactical.yaml").read_text())
    assert written == {"tactical_marl": to_dict(TacticalConfig())}
    assert load_config(project_root / "tactical.yaml") == TacticalConfig()


def test_every_section_survives_a_round_trip():
    config = TacticalConfig(training=TrainingConfig(epochs=2), rewards=RewardConfig.pnl_only())
    assert parsed(**to_dict(config)) == config


def test_no_file_gives_the_defaults():
    assert load_config(None) == parsed() == TacticalConfig()


def test_the_hash_follows_the_content():
    assert content_hash(TacticalConfig()) == content_hash(TacticalConfig())
    other = TacticalConfig(training=TrainingConfig(seed=1))
    assert content_hash(other) != content_hash(TacticalConfig())


def test_rewards_may_name_a_preset():
    assert parsed(rewards="pnl_only").rewards == reward_preset("pnl_only")
    assert parsed(rewards="full").rewards == RewardConfig()
    with pytest.raises(ConfigError, match="presets are"):
        parsed(rewards="greedy")


@pytest.mark.parametrize(
    ("sections", "named"),
    [
        ({"trainings": {}}, "trainings"),
        ({"training": {"epoch": 3}}, "training.epoch"),
        ({"training": {"epochs": "3"}}, "training.epochs"),
        ({"training": {"epochs": 2.5}}, "training.epochs"),
        ({"training": {"epochs": True}}, "training.epochs"),
        ({"training": {"epochs": 0}}, "training.epochs"),
        ({"training": {"gamma": 1.5}}, "training.gamma"),
        ({"training": {"gamma": None}}, "training.gamma"),
        ({"training": {"batch_size": 100_000}}, "training.batch_size"),
        ({"training": {"steps_per_update": 8_193}}, "training.steps_per_update"),
        ({"training": {"num_envs": 100}}, "training.num_envs"),
        ({"training": {"splits": [0.5, 0.5, 0.5]}}, "training.splits"),
        ({"training": {"episodes": {"kind": "year"}}}, "episodes.kind"),
        ({"training": {"temperature_scales": []}}, "training.temperature_scales"),
        ({"training": {"checkpoint_episodes": 0}}, "training.checkpoint_episodes"),
        ({"training": {"validation": {"every": -1}}}, "training.validation.every"),
        ({"training": {"validation": {"workers": -1}}}, "training.validation.workers"),
        ({"training": {"validation": {"best_by": "luck"}}}, "training.validation.best_by"),
        ({"training": {"stop": {"patience": -1}}}, "training.stop.patience"),
        ({"training": {"stop": {"max_seconds": 0.0}}}, "training.stop.max_seconds"),
        ({"training": {"stop": {"target": True}}}, "training.stop.target"),
        ({"training": {"warm_start": {"layers": "some"}}}, "training.warm_start.layers"),
        ({"training": {"curriculum": [{"name": "a", "market": "b"}]}}, "curriculum.0.market"),
        ({"training": {"curriculum": [{"name": "a", "market": "gap"}]}}, "promote_at"),
        (
            {"agents": {"fvg": {"attention_weights": [1.0], "exploration_temperature": 1.0}}},
            "attention_weights",
        ),
        (
            {"agents": {"fvg": {"attention_weights": [0.1] * 7, "exploration_temperature": 0.0}}},
            "exploration_temperature",
        ),
        ({"model": {"critic_heads": "two"}}, "model.critic_heads"),
        ({"model": {"dropout_rate": 1.0}}, "model.dropout_rate"),
        ({"model": {"hidden_sizes": []}}, "model.hidden_sizes"),
        ({"aggregation": {"execution_threshold": 0.0}}, "aggregation.execution_threshold"),
        ({"risk": {"max_leverage": -1.0}}, "risk.max_leverage"),
        ({"risk": {"bypass": True}}, "risk.bypass"),
        ({"orders": {"stop_atr": 0.0}}, "orders.stop_atr"),
        ({"rewards": {"pnl_scale": 0.0}}, "rewards.pnl_scale"),
        (
            {"performance": {"latency_targets": {"total_pipeline_ms": 0.0}}},
            "performance.latency_targets.total_pipeline_ms",
        ),
        (
            {"performance": {"accuracy_targets": {"trade_win_rate": 55.0}}},
            "performance.accuracy_targets.trade_win_rate",
        ),
    ],
)
def test_a_broken_value_is_refused_by_name(sections, named):
    with pytest.raises(ConfigError, match=named.replace(".", r"\.")):
        parsed(**sections)


@pytest.mark.parametrize("values", [None, [], "x", {}, {"other": {}}, {"tactical_marl": 3}])
def test_the_file_must_have_its_one_key(values):
    with pytest.raises(ConfigError, match=r"tactical_marl|TacticalConfig|object"):
        parse_config(values, "test")


def test_an_unreadable_file_is_told_apart(tmp_path: Path):
    with pytest.raises(UnreadableError, match=r"missing\.yaml"):
        load_config(tmp_path / "missing.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1, 2")
    with pytest.raises(UnreadableError, match=r"broken\.yaml"):
        load_config(broken)


@pytest.mark.parametrize("config", [ModelConfig(), TrainingConfig(), PerformanceConfig()])
def test_configurations_are_frozen(config):
    first = dataclasses.fields(config)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, first, 3)


def test_attention_needs_seven_weights():
    with pytest.raises(ConfigError, match="7 weights, found 2"):
        AgentConfig(attention_weights=(0.5, 0.5), exploration_temperature=1.0)


def test_a_part_of_the_rewards_keeps_the_rest_of_the_default():
    """The class's own weights are those of the preset with bonuses."""
    config = parsed(rewards={"pnl_scale": 200.0})
    assert config.rewards == dataclasses.replace(RewardConfig.pnl_only(), pnl_scale=200.0)
