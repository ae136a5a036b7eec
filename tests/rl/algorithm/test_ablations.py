"""Ablations by setting, alone and together. What each computes is tested with its base class."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import ray.cloudpickle
import torch

from rllib_tactical.bundle.networks import Standardization
from rllib_tactical.config.schema import ModelConfig, TacticalConfig
from rllib_tactical.errors import ConfigError
from rllib_tactical.rl.algorithm.ablations import (
    EveryVote,
    IndependentCriticModule,
    IndependentCritics,
    JointAction,
    JointLearner,
    WholeEpisodes,
    check_ablations,
    class_for,
)
from rllib_tactical.rl.algorithm.connector import CentralizedBatch
from rllib_tactical.rl.algorithm.counterfactual import CounterfactualBatch, CounterfactualLearner
from rllib_tactical.rl.algorithm.learner import MappoLearner
from rllib_tactical.rl.algorithm.modules import CriticModule
from rllib_tactical.rl.training.curriculum import check_new_run

PRODUCT = (CentralizedBatch, MappoLearner, CriticModule)
EXACT = (CounterfactualBatch, CounterfactualLearner, CriticModule)
SAMPLED = {"credit": "sampled"}


def configured(model: dict[str, Any], training: dict[str, Any]) -> TacticalConfig:
    default = TacticalConfig()
    return dataclasses.replace(
        default,
        model=ModelConfig(**model),
        training=dataclasses.replace(default.training, **training),
    )


def classes(model: dict[str, Any], training: dict[str, Any]) -> tuple[type, ...]:
    return tuple(class_for(base, configured(model, training)) for base in PRODUCT)


def test_the_defaults_are_the_product() -> None:
    assert classes({}, {}) == EXACT
    assert classes({"critic": "independent"}, {}) == (*EXACT[:2], IndependentCriticModule)
    assert classes({}, SAMPLED) == PRODUCT


@pytest.mark.parametrize(
    ("model", "training", "expected"),
    [
        ({"actors": "joint"}, {}, (JointAction, JointLearner, CriticModule)),
        ({"critic": "independent"}, {}, (*PRODUCT[:2], IndependentCriticModule)),
        ({}, {"credit": "all"}, (EveryVote, *PRODUCT[1:])),
        ({}, {"trace": "episode"}, (WholeEpisodes, *PRODUCT[1:])),
    ],
)
def test_a_setting_chooses_its_ablation_and_nothing_else(
    model: dict[str, Any], training: dict[str, Any], expected: tuple[type, ...]
) -> None:
    assert classes(model, SAMPLED | training) == expected


def test_ablations_of_one_class_combine_and_travel_to_other_processes() -> None:
    batch: Any = classes({"actors": "joint"}, {"credit": "all", "trace": "episode"})[0]
    sent = ray.cloudpickle.loads(ray.cloudpickle.dumps(batch))
    for found in (batch, sent):
        assert found.credited is JointAction.credited
        assert found.vote_weights is EveryVote.vote_weights
        assert found.trace is WholeEpisodes.trace


def test_independent_critics_see_the_matrix_alone() -> None:
    torch.manual_seed(0)
    critics = IndependentCritics((8,), 0.0, Standardization.identity()).eval()
    inputs = torch.randn(2, 60, 7)
    rng = np.random.default_rng(0)
    accounts = [torch.from_numpy(rng.normal(size=(2, 4, 13)).astype("f4")) for _ in range(2)]
    values = [critics(inputs, account) for account in accounts]
    assert values[0].shape == (2, 4, 3)
    torch.testing.assert_close(values[0], values[1])
    assert len(values[0][0, 0].unique()) == 3  # three networks, three values


def test_joint_actors_do_not_learn_from_decisive_votes() -> None:
    joint = {"actors": "joint"}
    check_ablations(configured(joint, {"credit": "all"}))
    check_ablations(configured({}, {"credit": "decisive"}))
    message = r"credit must be all with model\.actors joint: .* biased, found 'decisive'"
    with pytest.raises(ConfigError, match=message):
        check_ablations(configured(joint, {"credit": "decisive"}))
    with pytest.raises(ConfigError, match=message):
        check_new_run(configured(joint, {"credit": "decisive"}), Standardization.identity())
