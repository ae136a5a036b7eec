"""The configuration in the words of the requirement is read as it is."""

import re
from pathlib import Path
from typing import Any

import pytest

from rllib_tactical.config.loader import load_config, parse_config
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.config.yaml12 import read_yaml
from rllib_tactical.domain.types import AGENTS
from rllib_tactical.errors import ConfigError
from rllib_tactical.sweep.spec import load_sweep, parse_sweep

FILE = Path(__file__).parent / "requirement.yaml"


@pytest.fixture(scope="module")
def config() -> TacticalConfig:
    hints: list[str] = []
    found = load_config(FILE, hints.append)
    assert hints == []
    return found


def test_five_weights_become_the_seven_of_the_agents(config: TacticalConfig) -> None:
    agents, defaults = config.agents, TacticalConfig().agents
    assert agents.fvg.attention_weights == (0.4, 0.4, 0.1, 0.05, 0.05, 0.05, 0.05)
    assert agents.momentum.attention_weights == (0.05, 0.05, 0.1, 0.05, 0.05, 0.3, 0.5)
    assert agents.entry.attention_weights == (0.2,) * 7
    for agent in ("fvg", "momentum", "entry"):
        found, default = getattr(agents, agent), getattr(defaults, agent)
        assert found.attention_weights == default.attention_weights
        assert found.exploration_temperature == default.exploration_temperature


def test_every_value_is_used(config: TacticalConfig) -> None:
    assert config.learning_rates == {"fvg": 3e-4, "momentum": 3e-4, "entry": 3e-4}
    assert config.model.dropout_rate == 0.1
    training = config.training
    assert (training.batch_size, training.update_steps) == (64, 10 * 256)
    assert training.steps_per_update is None
    assert (training.clip_ratio, training.value_loss_coef, training.max_grad_norm) == (
        0.2,
        0.5,
        0.5,
    )
    rewards = config.rewards
    assert (rewards.base_pnl_weight, rewards.risk_penalty) == (1.0, -0.5)
    assert (rewards.synergy_bonus, rewards.execution_bonus) == (0.2, 0.1)
    assert config.aggregation == TacticalConfig().aggregation
    assert config.performance == TacticalConfig().performance


def test_a_sweep_takes_the_file_as_its_common_settings() -> None:
    settings = read_yaml(FILE)["tactical_marl"]
    space = {"training.episodes_per_update": {"choice": [10, 20]}}
    spec = parse_sweep({"tactical_sweep": {"config": settings, "space": space}}, "sweep.yaml")
    assert spec.config == load_config(FILE)
    assert spec == parse_sweep({"tactical_sweep": {"space": space}}, "sweep.yaml", base=settings)
    trained = spec.domains.applied(spec.config, {"training.episodes_per_update": 20})
    assert trained.training.update_steps == 20 * 256


def test_the_sweep_has_the_last_word(project_root: Path) -> None:
    spec = load_sweep(project_root / "tune_configs" / "smoke.yaml", config=FILE)
    assert spec.config.training.update_steps == 512
    assert spec.config.training.episodes_per_update is None
    assert spec.config.training.batch_size == 256
    assert spec.config.rewards == load_config(FILE).rewards
    # the learning rate of all agents is swept, those of the file do not stand in its way
    trained = spec.domains.applied(
        spec.config, {"training.actor_lr": 5e-4, "aggregation.execution_threshold": 0.6}
    )
    assert set(trained.learning_rates.values()) == {5e-4}


@pytest.mark.parametrize("name", ["grid", "optuna_asha", "pbt", "random_asha", "smoke"])
def test_every_shipped_sweep_goes_with_it(project_root: Path, name: str) -> None:
    load_sweep(project_root / "tune_configs" / f"{name}.yaml", config=FILE)


def test_one_setting_for_all_agents_replaces_those_of_the_file() -> None:
    settings = read_yaml(FILE)["tactical_marl"]
    given = {
        "config": {"training": {"actor_lr": 0.002}, "agents": {"fvg": {"learning_rate": 0.004}}},
        "space": {"training.gamma": {"choice": [0.9]}},
    }
    spec = parse_sweep({"tactical_sweep": given}, "sweep.yaml", base=settings)
    assert spec.config.learning_rates == {"fvg": 0.004, "momentum": 0.002, "entry": 0.002}
    agent = spec.config.agents.momentum
    assert agent.exploration_temperature == 1.2


def test_a_swept_setting_that_others_replace_is_refused() -> None:
    keys = ("training.actor_lr", *(f"agents.{a}.learning_rate" for a in AGENTS))
    space = {key: {"log_uniform": [1e-4, 1e-3]} for key in keys}
    with pytest.raises(ConfigError, match=r"space\.training\.actor_lr has no effect beside agents"):
        parse_sweep({"tactical_sweep": {"space": space}}, "sweep.yaml")


def test_a_fault_of_the_common_settings_names_their_file(
    tmp_path: Path, project_root: Path
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("tactical_marl: {training: {gamma: 2.0}}")
    with pytest.raises(ConfigError, match=r"mine\.yaml: training\.gamma must be in \(0, 1\]"):
        load_sweep(project_root / "tune_configs" / "smoke.yaml", config=file)


@pytest.mark.parametrize(
    ("section", "changes", "named"),
    [
        ("model", {"input_shape": [30, 7]}, "model.input_shape must be [60, 7]"),
        ("model", {"activation": "gelu"}, "model.activation"),
        ("training", {"algorithm": "dqn"}, "training.algorithm"),
    ],
)
def test_fixed_settings_have_one_value(section: str, changes: dict[str, Any], named: str) -> None:
    values = read_yaml(FILE)
    values["tactical_marl"][section] |= changes
    with pytest.raises(ConfigError, match=re.escape(named)):
        parse_config(values, "test")


def test_it_is_always_enabled() -> None:
    values = read_yaml(FILE)
    values["tactical_marl"]["enabled"] = False
    with pytest.raises(ConfigError, match="enabled must be true, found False"):
        parse_config(values, "test")
