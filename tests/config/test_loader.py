from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from rllib_tactical.config.loader import (
    content_hash,
    load_config,
    parse_config,
    reward_preset,
)
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.config.training import TrainingConfig
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.errors import ConfigError, UnreadableError


def parsed(**sections):
    return parse_config({"tactical_marl": sections}, "test")


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


def test_an_agent_keeps_what_is_not_given():
    found = parsed(agents={"momentum": {"learning_rate": 0.01}}).agents
    default = TacticalConfig().agents
    assert found.momentum == dataclasses.replace(default.momentum, learning_rate=0.01)
    assert (found.fvg, found.entry) == (default.fvg, default.entry)


def test_a_shared_rate_that_no_agent_has_is_hinted_at():
    hints: list[str] = []
    rates = {agent: {"learning_rate": 0.01} for agent in ("fvg", "momentum", "entry")}
    parse_config({"tactical_marl": {"agents": rates}}, "test", hints.append)
    assert hints == []
    given = {"agents": rates, "training": {"actor_lr": 0.002}}
    parse_config({"tactical_marl": given}, "test", hints.append)
    assert len(hints) == 1
    assert "training.actor_lr has no effect" in hints[0]


def test_a_part_of_the_rewards_keeps_the_rest_of_the_default():
    """The class's own weights are those of the preset with bonuses."""
    config = parsed(rewards={"pnl_scale": 200.0})
    assert config.rewards == dataclasses.replace(RewardConfig.pnl_only(), pnl_scale=200.0)
