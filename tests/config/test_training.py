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
        ({"steps_per_update": 8_193}, r"\(128\), such as 8192 or 8320, found 8193"),
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
