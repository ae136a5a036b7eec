"""Ablations by setting, alone and together. What each computes is tested with its base class."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import ray.cloudpickle
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.evaluation.postprocessing import Postprocessing

from rllib_tactical.bundle.networks import Standardization
from rllib_tactical.config.schema import ModelConfig, TacticalConfig
from rllib_tactical.config.training import CounterfactualConfig
from rllib_tactical.domain.types import AGENTS
from rllib_tactical.errors import ConfigError
from rllib_tactical.rl.algorithm.ablations import (
    AccountCriticModule,
    EveryVote,
    IndependentCriticModule,
    IndependentCritics,
    JointAction,
    JointLearner,
    NoCriticModule,
    SequentialBatch,
    SequentialLearner,
    SequentialMinibatches,
    WholeEpisodes,
    check_ablations,
    class_for,
)
from rllib_tactical.rl.algorithm.config import module_spec
from rllib_tactical.rl.algorithm.connector import CentralizedBatch
from rllib_tactical.rl.algorithm.counterfactual import (
    OUTCOMES,
    CounterfactualBatch,
    CounterfactualLearner,
)
from rllib_tactical.rl.algorithm.credit import counterfactual_advantages
from rllib_tactical.rl.algorithm.learner import MappoLearner
from rllib_tactical.rl.algorithm.modules import CriticModule
from rllib_tactical.rl.algorithm.teacher import Teacher
from rllib_tactical.rl.names import CRITIC
from rllib_tactical.rl.training.curriculum import check_new_run
from tests.rl.algorithm import batches
from tests.rl.segments import open_market, segment

PRODUCT = (CentralizedBatch, MappoLearner, CriticModule)
EXACT = (CounterfactualBatch, CounterfactualLearner, CriticModule)
SAMPLED = {"credit": "sampled"}
GAMMA = 0.9
TEACHER = Teacher(batches.SPEC, GAMMA)


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
    assert classes({"critic": "account"}, {}) == (*EXACT[:2], AccountCriticModule)
    assert classes({"critic": "none"}, {}) == (*EXACT[:2], NoCriticModule)
    sequential = classes({}, {"updates": "sequential"})
    assert sequential == (SequentialBatch, SequentialLearner, CriticModule)
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


def modules_of(**model: Any) -> Any:
    torch.manual_seed(0)
    made = module_spec(TacticalConfig(model=ModelConfig(**model)), batches.SCALE).build()
    for agent in AGENTS:  # so that policies differ from bar to bar
        torch.nn.init.normal_(made[agent].actor.out.weight, std=3.0)
    return made


def connector_of(batch_class: Any) -> Any:
    return batch_class(
        market=open_market(batches.SPEC),
        gamma=GAMMA,
        lambda_=0.95,
        teacher=TEACHER,
        bars=30,
        mirror=False,
    )


def batch_of(connector: Any, modules: Any) -> Any:
    return connector(rl_module=modules, batch={}, episodes=[segment(5, 400, accounts=2)])


def test_a_critic_without_bars_sees_the_account_alone() -> None:
    critic: Any = modules_of(critic="account")[CRITIC]
    account = torch.randn(3, 2, 13)
    one, other = (critic.values(torch.randn(3, 60, 7), account) for _ in range(2))
    torch.testing.assert_close(one, other)
    assert one.shape == (3, 2, 3)
    assert (critic.values(torch.randn(3, 60, 7), account + 1) != one).all()
    shared: Any = modules_of(critic="account", critic_heads="shared")[CRITIC]
    assert (shared.values(torch.randn(3, 60, 7), account).diff(dim=-1) == 0).all()


def test_without_a_critic_a_vote_is_worth_what_its_trade_brings_and_no_more() -> None:
    modules = modules_of(critic="none")
    critic: Any = modules[CRITIC]
    for _ in range(2):  # the moments of the targets are then not zero
        torch.manual_seed(5)
        batch = batch_of(connector_of(CounterfactualBatch), modules)
    assert critic.moment1.abs().min() > 0
    torch.manual_seed(5)
    lesson = TEACHER.lesson(torch.randint(len(TEACHER), (30,)).numpy())
    expected = np.where(lesson.opened, lesson.returns[..., 0], 0.0)
    np.testing.assert_allclose(batch["fvg"][OUTCOMES], expected, atol=1e-6)
    assert np.abs(expected).max() > 0


@pytest.mark.ray
def test_no_critic_never_learns_and_independent_ones_and_agents_do(build: Any) -> None:
    """Two updates with exact credit, whatever the critic is."""
    for critic in ("none", "independent", "account"):
        config = dataclasses.replace(exact(), model=ModelConfig(critic=critic, hidden_sizes=(8,)))
        algorithm = build(config)
        before = batches.weights_of(algorithm)
        batches.update(algorithm, 1)
        batches.update(algorithm, 2)
        after = batches.weights_of(algorithm)
        for agent in AGENTS:
            name = "actor.out.weight"
            assert np.any(after[agent][name] != before[agent][name])
        learnt = {
            name
            for name, values in after[CRITIC].items()
            if name.startswith("critic") and np.any(values != before[CRITIC][name])
        }
        assert bool(learnt) == (critic != "none"), critic


def exact(**training: Any) -> TacticalConfig:
    settings = CounterfactualConfig(pretraining_passes=0.3)
    made: TacticalConfig = batches.configured(
        **{"credit": "counterfactual", "counterfactual": settings, "actor_lr": 0.01, **training}
    )
    return made


def test_the_next_agent_is_credited_by_the_new_policies_of_the_others() -> None:
    modules, connector = modules_of(), connector_of(SequentialBatch)
    first = batch_of(connector, modules)
    torch.nn.init.normal_(modules["fvg"].actor.out.weight, std=3.0)  # fvg has learnt
    again = connector.again(modules)
    kept = connector._kept
    logp = torch.stack([again[agent][Columns.ACTION_LOGP] for agent in AGENTS], dim=1)
    by_hand = counterfactual_advantages(
        kept.traded,
        kept.flat,
        logp.exp().numpy().astype(np.float64),
        kept.lesson.kind,
        kept.lesson.direction,
        batches.SPEC.train_confidence,
        batches.SPEC.rules,
    )
    for i, agent in enumerate(AGENTS):
        torch.testing.assert_close(again[agent][Columns.OBS], first[agent][Columns.OBS])
        found = again[agent][Postprocessing.ADVANTAGES]
        np.testing.assert_allclose(found, by_hand[:, i], atol=1e-5)
        assert (found - first[agent][Postprocessing.ADVANTAGES]).abs().max() > 1e-3
        unmoved = torch.equal(again[agent][Columns.ACTION_LOGP], first[agent][Columns.ACTION_LOGP])
        assert unmoved == (agent != "fvg")


def test_agents_take_turns_and_the_critic_learns_with_the_first() -> None:
    modules, connector = modules_of(), connector_of(SequentialBatch)
    batch = batch_of(connector, modules)
    asked: list[str] = []

    def again() -> Any:
        asked.append(taken[-1])
        return batch

    taken: list[str] = []
    steps = []
    for part in SequentialMinibatches(batch, 2, 3, ("entry", "fvg", "momentum"), again):
        taken.append("+".join(part.policy_batches))
        steps.append(part.env_steps())
    assert taken == [f"{CRITIC}+entry"] * 6 + ["fvg"] * 6 + ["momentum"] * 6
    assert asked == [f"{CRITIC}+entry", "fvg"]  # when the turn before is over
    assert sum(steps[:6]) == 2 * 5 * 2
    assert steps[6:] == [0] * 12
    frozen = SequentialMinibatches({CRITIC: batch[CRITIC]}, 1, 2, (), again)
    assert [list(part.policy_batches) for part in frozen] == [[CRITIC]] * 2


@pytest.mark.ray
def test_the_first_agent_learns_as_it_does_together_with_the_others(build: Any) -> None:
    """The order is drawn for each update; one thread and two have the same result."""
    together = build(exact())
    found = []
    for threads in (1, 2):
        algorithm = build(exact(updates="sequential", learner_threads=threads))
        batches.update(algorithm, 1)
        found.append(batches.weights_of(algorithm))
    batches.update(together, 1)
    expected = batches.weights_of(together)
    same = {
        m
        for m in expected
        if all(np.array_equal(found[0][m][n], v) for n, v in expected[m].items())
    }
    assert len(same) == 2
    assert CRITIC in same
    for module, weights in found[0].items():
        for name, values in weights.items():
            np.testing.assert_array_equal(values, found[1][module][name])
    learner = algorithm.learner_group._learner
    orders = set()
    for learner._weights_seq_no in range(20):
        orders.add(learner.minibatches(dict.fromkeys(expected), 1, 1)._order)
    assert len(orders) == 6


def test_updates_are_sequential_with_exact_credit_only() -> None:
    with pytest.raises(ConfigError, match=r"training\.updates must be together unless"):
        configured({}, {"credit": "sampled", "updates": "sequential"})
