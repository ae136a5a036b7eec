import dataclasses
import re
from pathlib import Path

import pytest
import yaml

from rllib_tactical.config.loader import (
    load_config,
    parse_config,
    to_dict,
)
from rllib_tactical.config.schema import AgentConfig, ModelConfig, TacticalConfig
from rllib_tactical.config.service import PerformanceConfig
from rllib_tactical.config.training import TrainingConfig
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.errors import ConfigError


def parsed(**sections):
    return parse_config({"tactical_marl": sections}, "test")


def test_the_shipped_file_lists_every_default(project_root: Path):
    written = yaml.safe_load((project_root / "tactical.yaml").read_text())
    assert written == {"tactical_marl": to_dict(TacticalConfig())}
    assert load_config(project_root / "tactical.yaml") == TacticalConfig()


def test_every_section_survives_a_round_trip():
    config = TacticalConfig(training=TrainingConfig(epochs=2), rewards=RewardConfig.pnl_only())
    assert parsed(**to_dict(config)) == config


@pytest.mark.parametrize(
    ("sections", "named"),
    [
        ({"trainings": {}}, "trainings"),
        ({"enabled": False}, "enabled must be true"),
        ({"model": {"input_shape": [60, 5]}}, "model.input_shape must be [60, 7]"),
        ({"model": {"activation": "tanh"}}, "model.activation"),
        ({"training": {"algorithm": "ippo"}}, "training.algorithm"),
        ({"agents": {"entry": {"learning_rate": 0.0}}}, "learning_rate must be finite and > 0"),
        ({"aggregation": {"synergy_type_weights": {"TYPE_5": []}}}, "synergy_type_weights.TYPE_5"),
        ({"training": {"seed": 4294967296}}, "training.seed must be in 0..4294967295"),
        ({"training": {"seed": -1}}, "training.seed must be in 0..4294967295"),
        ({"training": {"epoch": 3}}, "training.epoch"),
        ({"training": {"epochs": "3"}}, "training.epochs"),
        ({"training": {"epochs": 2.5}}, "training.epochs"),
        ({"training": {"epochs": True}}, "training.epochs"),
        ({"training": {"epochs": 0}}, "training.epochs"),
        ({"training": {"gamma": 1.5}}, "training.gamma"),
        ({"training": {"gamma": None}}, "training.gamma"),
        ({"training": {"batch_size": 100_000}}, "training.batch_size"),
        ({"training": {"steps_per_update": 100}}, "training.steps_per_update"),
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
    with pytest.raises(ConfigError, match=re.escape(named)):
        parsed(**sections)


@pytest.mark.parametrize("config", [ModelConfig(), TrainingConfig(), PerformanceConfig()])
def test_configurations_are_frozen(config):
    first = dataclasses.fields(config)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, first, 3)


def test_attention_needs_seven_or_five_weights():
    for count in (0, 2, 4, 6, 8):
        with pytest.raises(
            ConfigError, match="must be 7 numbers, or 5 without fvg_age and fvg_mit"
        ):
            AgentConfig(attention_weights=(0.5,) * count, exploration_temperature=1.0)


def test_the_two_features_without_a_weight_begin_with_the_smallest_of_the_five():
    found = AgentConfig(attention_weights=(0.5, 0.4, 0.3, 0.2, 0.1), exploration_temperature=1.0)
    assert found.attention_weights == (0.5, 0.4, 0.3, 0.1, 0.1, 0.2, 0.1)


def test_agents_without_a_rate_of_their_own_share_one():
    config = parsed(agents={"momentum": {"learning_rate": 0.01}}, training={"actor_lr": 0.002})
    assert config.learning_rates == {"fvg": 0.002, "momentum": 0.01, "entry": 0.002}


@pytest.mark.parametrize(
    ("training", "rate"),
    [
        ({}, 3e-4),
        ({"credit": "sampled"}, 1e-3),
        ({"counterfactual": {"pretraining_passes": 0.0}}, 1e-3),
        ({"warm_start": {"path": "runs/a"}}, 1e-3),  # which is not pre-trained
        ({"actor_lr": 0.002}, 0.002),
    ],
)
def test_pre_trained_actors_learn_at_a_lower_rate(training, rate):
    config = parsed(training=training)
    assert config.actor_lr == rate
    assert set(config.learning_rates.values()) == {rate}
