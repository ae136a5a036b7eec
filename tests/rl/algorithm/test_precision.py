from __future__ import annotations

import dataclasses

import pytest

from rllib_tactical.config.training import TrainingConfig
from rllib_tactical.errors import ConfigError
from rllib_tactical.rl.algorithm.precision import bfloat16_cost, check_precision

SLOWLY, FAST = 20.0, 0.6


def warnings(training: TrainingConfig, cost: float) -> list[str]:
    said: list[str] = []
    check_precision(training, said.append, lambda: cost)
    return said


def test_a_precision_without_hardware_is_said() -> None:
    (said,) = warnings(TrainingConfig(precision="bfloat16"), SLOWLY)
    assert said == (
        "warning: training.precision: this processor has no hardware for bfloat16, a matrix "
        "product takes 20.0 times as long as in float32"
    )
    assert warnings(TrainingConfig(precision="bfloat16"), FAST) == []
    assert warnings(TrainingConfig(), SLOWLY) == []


def test_strict_refuses_it() -> None:
    training = TrainingConfig(precision="bfloat16", strict=True)
    with pytest.raises(ConfigError, match="set precision: float32, or strict: false"):
        warnings(training, SLOWLY)
    assert warnings(training, FAST) == []


def test_learners_elsewhere_are_not_judged_by_this_processor() -> None:
    local = TrainingConfig(precision="bfloat16", strict=True)
    assert warnings(dataclasses.replace(local, num_learners=1), SLOWLY) == []
    assert warnings(dataclasses.replace(local, learner_gpus=1), SLOWLY) == []


def test_the_cost_is_measured() -> None:
    assert 0.0 < bfloat16_cost() < float("inf")
