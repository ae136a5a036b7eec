"""Stages are refused by name, and so is a list of them that does not fit together."""

import dataclasses

import pytest

from rllib_tactical.config.curriculum import StageConfig, check_curriculum
from rllib_tactical.config.training import TrainingConfig
from rllib_tactical.errors import ConfigError

STAGE = StageConfig(name="clean", market="gap", bars=4_000, promote_at=0.5, min_iterations=3)
REAL = StageConfig(name="real", market="data")


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ([STAGE], "last stage"),
        ([REAL, REAL], "own name"),
        ([REAL, STAGE], "last stage"),
    ],
)
def test_stages_must_fit_together(stages, said):
    with pytest.raises(ConfigError, match=said):
        TrainingConfig(curriculum=tuple(stages))
    check_curriculum(())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": " "}, "needs a name"),
        ({"difficulty": 1.5}, "difficulty"),
        ({"bars": 0}, "bars"),
        ({"seed": -1}, "seed"),
        ({"min_iterations": 0}, "min_iterations"),
        ({"max_iterations": 2}, "max_iterations"),
        ({"promote_at": float("nan")}, "promote_at"),
        ({"promote_at": None}, "to leave it"),
        ({"market": "data"}, "last stage has no"),
    ],
)
def test_a_broken_stage_is_refused_by_name(changes, said):
    with pytest.raises(ConfigError, match=said):
        dataclasses.replace(STAGE, **changes)
