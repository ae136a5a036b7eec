from __future__ import annotations

import pytest

from rllib_tactical.config.loader import (
    parse_config,
    to_dict,
)
from rllib_tactical.errors import ConfigError


def parsed(**sections):
    return parse_config({"tactical_marl": sections}, "test")


@pytest.mark.parametrize(
    ("sizes", "steps"),
    [
        ({}, 8192),
        ({"steps_per_update": 1024}, 1024),
        ({"episodes_per_update": 10}, 2560),
        ({"episodes_per_update": 1, "episodes": {"length": 300}}, 384),  # three times 128 accounts
        ({"episodes_per_update": 10, "num_env_runners": 3}, 2688),
        ({"episodes_per_update": 10, "num_env_runners": 0}, 2560),
        ({"steps_per_update": 8_193, "num_env_runners": 5}, 8_193),
    ],
)
def test_the_steps_of_an_update(sizes, steps):
    training = parsed(training={"batch_size": 64, **sizes}).training
    assert training.update_steps == steps
    assert parsed(training=to_dict(training)).training == training


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"steps_per_update": 512, "episodes_per_update": 2}, "must be null: they say the same"),
        ({"episodes_per_update": 10, "episodes": {"kind": "session"}}, "give steps_per_update"),
        ({"episodes_per_update": 0}, "episodes_per_update must be >= 1"),
        (
            {"steps_per_update": 2_100, "num_env_runners": 17},
            r"one step of every account or more: num_envs x num_env_runners \(2176\), found 2100",
        ),
        ({"overlap": 2}, "overlap must be 0 or 1, found 2"),
        ({"overlap": 1, "num_env_runners": 0}, "overlap must be 0 with num_env_runners 0"),
        ({"batch_size": 4}, r"batch_size must be a multiple of accounts_per_bar \(8\), such as 8,"),
        ({"num_envs": 100}, r"num_envs must be .* such as 96 or 104, found 100"),
        (
            {"episodes_per_update": 4},
            r"must not exceed the steps of an update \(1024\), found 2048",
        ),
    ],
)
def test_sizes_that_do_not_fit_are_refused_with_some_that_do(sizes, message):
    with pytest.raises(ConfigError, match=message):
        parsed(training=sizes)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pretraining_passes": -1.0}, r"pretraining_passes must be finite and >= 0, found -1\.0"),
        ({"pretraining_bars": 0}, "pretraining_bars must be >= 1, found 0"),
        ({"temperature": 0.0}, r"counterfactual\.temperature must be finite and > 0, found 0\.0"),
        ({"outcome_coef": -0.5}, r"outcome_coef must be finite and >= 0, found -0\.5"),
    ],
)
def test_settings_of_counterfactual_credit_are_checked(settings, message):
    with pytest.raises(ConfigError, match=message):
        parsed(training={"counterfactual": settings})


def test_actors_with_a_warm_start_are_not_pre_trained():
    cold, warm = parsed(), parsed(training={"warm_start": {"path": "runs/first"}})
    assert cold.counterfactual == cold.training.counterfactual
    assert warm.training.counterfactual.pretraining_passes > 0
    assert warm.counterfactual.pretraining_passes == 0
    assert parsed(model={"network": "mine"}).counterfactual.pretraining_passes == 0


def test_joint_actors_need_credit_for_every_vote():
    with pytest.raises(ConfigError, match=r"actors must be separate with .* found 'joint'"):
        parsed(model={"actors": "joint"})
    assert parsed(training={"credit": "all"}, model={"actors": "joint"}).model.actors == "joint"


def test_sampled_credit_has_four_passes_and_exact_credit_one():
    assert parsed().training.credit == "counterfactual"
    assert parsed().training.passes == 1
    sampled = parsed(training={"credit": "sampled"}).training
    assert (sampled.credit, sampled.passes) == ("decisive", 4)  # as it was recorded before
    assert parsed(training={"credit": "sampled", "epochs": 2}).training.passes == 2
    assert parsed(training={"epochs": 3}).training.passes == 3
