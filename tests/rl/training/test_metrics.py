"""A flat row of one iteration and of one validation, by hand."""

import math

import pytest

from rllib_tactical.domain.types import AGENTS
from rllib_tactical.rl.names import CRITIC, MONITOR
from rllib_tactical.rl.training.metrics import (
    broken_metrics,
    iteration_metrics,
    validation_metrics,
)
from rllib_tactical.rl.training.validation import Validation
from rllib_tactical.rl.training.validator import ValidationResult


def result(**runners):
    """Return a result of RLlib: 500 steps of which 2,000 in all."""
    learners = {
        agent: {
            "entropy": 1.0 + k,
            "policy_loss": -0.1 * k,
            "approximate_kl": 0.01 * k,
            "clip_fraction": 0.2 * k,
        }
        for k, agent in enumerate(AGENTS)
    }
    counts = {"num_env_steps_sampled": 500, "num_env_steps_sampled_lifetime": 2_000}
    return {
        "env_runners": counts | runners,
        "learners": learners | {CRITIC: {"vf_loss": 0.5, "vf_explained_var": 0.25}},
        MONITOR: {"converged": False, "episodes": 9},
    }


def test_an_iteration_in_which_episodes_ended():
    trading = {"pnl": 12, "costs": 3.5, "trades": 4.0, "wins": 1.0, "bonus": 1.0, "base": 3.0}
    row = iteration_metrics(
        result(
            trading=trading,
            episode_len_mean=30.5,
            agent_episode_returns_mean={"fvg": 1.5, "momentum": -2.0, "entry": 0.0},
        ),
        iteration=4,
        seconds=2.0,
    )
    assert (row["iteration"], row["env_steps"]) == (4, 2_000)
    assert (row["seconds"], row["steps_per_s"]) == (2.0, 250.0)
    assert (row["pnl"], row["costs"], row["trades"], row["wins"]) == (12.0, 3.5, 4, 1)
    assert row["bonus_share"] == 0.25
    assert row["episode_length"] == 30.5
    assert [row[f"reward_{agent}"] for agent in AGENTS] == [1.5, -2.0, 0.0]
    assert [row[f"entropy_{agent}"] for agent in AGENTS] == [1.0, 2.0, 3.0]
    assert [row[f"policy_loss_{agent}"] for agent in AGENTS] == [-0.0, -0.1, -0.2]
    assert [row[f"kl_{agent}"] for agent in AGENTS] == [0.0, 0.01, 0.02]
    assert [row[f"clip_fraction_{agent}"] for agent in AGENTS] == [0.0, 0.2, 0.4]
    assert (row["value_loss"], row["value_explained_variance"]) == (0.5, 0.25)
    assert (row["converged"], row["episodes"]) == (False, 9)
    assert broken_metrics(row) == []


@pytest.mark.parametrize("returns", [{}, {"fvg": math.nan, "momentum": math.nan}])
def test_what_no_episode_gave_is_none_and_no_divergence(returns):
    row = iteration_metrics(
        result(episode_len_mean=math.nan, agent_episode_returns_mean=returns), 1, 1.0
    )
    assert [row[f"reward_{agent}"] for agent in AGENTS] == [None] * 3
    assert row["episode_length"] is None
    assert (row["pnl"], row["trades"], row["bonus_share"]) == (0.0, 0, 0.0)
    assert broken_metrics(row) == []


def test_numbers_that_are_not_finite_are_named_in_order():
    row = {"value_loss": math.nan, "kl_fvg": math.inf, "pnl": 1.0, "reward_fvg": None, "trades": 3}
    assert broken_metrics(row) == ["kl_fvg", "value_loss"]


def test_a_validation_names_the_weights_that_it_is_of():
    validation = Validation.from_dict(
        {
            "net_pnl": 10.0,
            "sharpe": 1.5,
            "trades": 12,
            "win_rate": 0.5,
            "trades_per_day": 2.0,
            "training_rule_trades": 20,
            "temperature_scale": 0.25,
            "by_scale": [],
        }
    )
    row = validation_metrics(ValidationResult(3, 1_536, validation))
    assert (row["validation_iteration"], row["validation_env_steps"]) == (3, 1_536)
    assert (row["validation_net_pnl"], row["validation_trades"]) == (10.0, 12)
    assert (row["validation_sharpe"], row["validation_win_rate"]) == (1.5, 0.5)
    assert (row["validation_trades_per_day"], row["validation_training_rule_trades"]) == (2.0, 20)
    assert row["validation_oracle_share"] is None
    assert row["temperature_scale"] == 0.25
