"""Counterfactual credit: the actors' batch, their loss, and the learner that makes the tables."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.evaluation.postprocessing import Postprocessing

from rllib_tactical.bundle.networks import Standardization
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.config.training import CounterfactualConfig
from rllib_tactical.domain.features.table import mirrored_inputs
from rllib_tactical.domain.types import AGENTS
from rllib_tactical.rl.algorithm.config import build_config, module_spec
from rllib_tactical.rl.algorithm.connector import CentralizedBatch, values_of
from rllib_tactical.rl.algorithm.counterfactual import (
    KNOWN,
    OUTCOMES,
    CounterfactualBatch,
    FreshMinibatches,
)
from rllib_tactical.rl.algorithm.credit import counterfactual_advantages
from rllib_tactical.rl.algorithm.teacher import Lesson, Teacher
from rllib_tactical.rl.names import CRITIC
from rllib_tactical.rl.sampling.market_ref import MarketHandle
from tests.market import random_spec
from tests.rl.algorithm.batches import SCALE, configured, update, weights_of
from tests.rl.segments import open_market, segment

SPEC = random_spec()
GAMMA = 0.9
TEACHER = Teacher(SPEC, GAMMA)
EPISODES = [segment(5, 400, accounts=2), segment(3, 700, accounts=2, ended=True, seed=1)]


@pytest.fixture(scope="module")
def modules() -> Any:
    torch.manual_seed(0)
    made = module_spec(TacticalConfig(), Standardization.identity()).build()
    for agent in AGENTS:  # so that policies differ from bar to bar
        torch.nn.init.normal_(made[agent].actor.out.weight, std=3.0)
    return made


def make_batch(modules: Any, bars: int = 40, mirror: bool = False) -> Any:
    connector = CounterfactualBatch(
        market=open_market(SPEC),
        gamma=GAMMA,
        lambda_=0.95,
        teacher=TEACHER,
        bars=bars,
        mirror=mirror,
    )
    return connector(rl_module=modules, batch={}, episodes=EPISODES)


def drawn(seed: int, bars: int = 40) -> Lesson:
    torch.manual_seed(seed)
    return TEACHER.lesson(torch.randint(len(TEACHER), (bars,)).numpy())


def flat_values(modules: Any, t: np.ndarray) -> np.ndarray:
    """Return the critic's values of an account that is flat and has lost nothing."""
    history = SPEC.parts[0].history
    state = np.zeros((len(t), 1, 13), dtype=np.float32)
    state[:, 0, 4:] = history.market_features(t)
    inputs = torch.from_numpy(history.inputs.gather(t))
    return values_of(modules[CRITIC].unwrapped(), inputs, torch.from_numpy(state))[:, 0]


def by_hand(modules: Any, lesson: Lesson) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return probabilities, what trades bring more than nothing, and exact advantages."""
    flat = GAMMA * flat_values(modules, lesson.next)
    traded = np.stack(
        [
            lesson.returns[:, k]
            + GAMMA ** lesson.bars[:, k, None] * flat_values(modules, lesson.after[:, k])
            for k in range(2)
        ],
        axis=1,
    )
    traded = np.where(lesson.opened[..., None], traded, flat[:, None])
    inputs = torch.from_numpy(lesson.inputs)
    with torch.no_grad():
        logits = torch.stack([modules[agent].actor(inputs) for agent in AGENTS], dim=1)
    probabilities = torch.softmax(logits, dim=-1).numpy().astype(np.float64)
    exact = counterfactual_advantages(
        traded, flat, probabilities, lesson.kind, lesson.direction, 0.9, SPEC.rules
    )
    return probabilities, traded - flat[:, None], exact


def test_actors_get_bars_of_the_table_with_the_value_of_every_vote(modules: Any) -> None:
    lesson = drawn(5)
    probabilities, more, exact = by_hand(modules, lesson)
    torch.manual_seed(5)
    batch = make_batch(modules)
    for i, agent in enumerate(AGENTS):
        columns = batch[agent]
        np.testing.assert_array_equal(columns[Columns.OBS], lesson.inputs)
        np.testing.assert_allclose(
            columns[Columns.ACTION_LOGP].exp(), probabilities[:, i], atol=1e-5
        )
        np.testing.assert_allclose(
            columns[Postprocessing.ADVANTAGES], exact[:, i], rtol=0, atol=1e-5
        )
    for i, agent in enumerate(("fvg", "momentum")):
        np.testing.assert_allclose(batch[agent][OUTCOMES], more[..., i], atol=1e-5)
        np.testing.assert_array_equal(batch[agent][KNOWN], lesson.opened)
    # for the entry agent the side that the two others lean to, and 1.125 times as much of it
    lean = (probabilities[:, :2, 0] - probabilities[:, :2, 2]).sum(axis=1)
    side = (lean < 0).astype(int)
    assert 0 < side.sum() < len(side)
    executed = more[np.arange(len(side)), side, 2]
    found = batch["entry"][OUTCOMES].numpy()
    np.testing.assert_allclose(found, executed[:, None] * [1.0, 1.125], atol=1e-5)
    known = lesson.opened[np.arange(len(side)), side]
    np.testing.assert_array_equal(batch["entry"][KNOWN], np.stack([known, known], axis=1))


def test_the_critic_learns_from_what_was_sampled(modules: Any) -> None:
    ours = make_batch(copy.deepcopy(modules))[CRITIC]
    connector = CentralizedBatch(market=open_market(SPEC), gamma=GAMMA, lambda_=0.95)
    theirs = connector(rl_module=copy.deepcopy(modules), batch={}, episodes=EPISODES)[CRITIC]
    for name, values in ours.items():
        torch.testing.assert_close(values, theirs[name])


def test_half_of_the_bars_are_turned_upside_down(modules: Any) -> None:
    torch.manual_seed(7)
    plain = make_batch(copy.deepcopy(modules))  # a batch moves the critic's moments
    torch.manual_seed(7)
    turned = make_batch(copy.deepcopy(modules), mirror=True)
    own, other = (each["fvg"][Columns.OBS].numpy() for each in (plain, turned))
    rows = (own != other).any(axis=(1, 2))
    assert 10 < rows.sum() < 30
    np.testing.assert_array_equal(other[rows], mirrored_inputs(own[rows]))
    np.testing.assert_array_equal(
        turned["fvg"][KNOWN][rows].numpy(), plain["fvg"][KNOWN][rows].numpy()[:, ::-1]
    )
    found, before = (each["momentum"][OUTCOMES].numpy() for each in (turned, plain))
    np.testing.assert_allclose(found[rows], before[rows][:, ::-1], atol=1e-5)
    np.testing.assert_allclose(found[~rows], before[~rows], atol=1e-5)


def test_actors_see_a_bar_once_and_the_critic_its_rows_every_epoch(modules: Any) -> None:
    torch.manual_seed(9)
    batch = make_batch(modules, bars=37)
    parts = list(FreshMinibatches(batch, epochs=2, count=3))
    assert [part.env_steps() for part in parts] == [6, 6, 4] * 2
    for agent in AGENTS:
        for name, values in batch[agent].items():
            fresh = torch.cat([part.policy_batches[agent][name] for part in parts])
            torch.testing.assert_close(fresh, values)
    for epoch in (parts[:3], parts[3:]):
        seen = torch.cat([part.policy_batches[CRITIC][Columns.OBS] for part in epoch])
        own = batch[CRITIC][Columns.OBS]
        assert sorted(r.sum().item() for r in seen) == sorted(r.sum().item() for r in own)


def learner_config(**changes: Any) -> TacticalConfig:
    settings = CounterfactualConfig(**{"pretraining_passes": 0.3, "outcome_coef": 0.5, **changes})
    made: TacticalConfig = configured(credit="counterfactual", counterfactual=settings)
    return made


@pytest.mark.ray
def test_the_loss_by_hand_and_its_gradient(build: Any) -> None:
    """Sums over all votes; the gradient at the old policy is that of the expected advantage."""
    learner = build(learner_config()).learner_group._learner
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.from_numpy(rng.normal(size=shape).astype("f4"))

    logits, old, advantages, outcomes = normal(6, 3), normal(6, 3), normal(6, 3), normal(6, 2)
    known = torch.tensor([[True, False]] * 6)
    before = torch.log_softmax(old, dim=-1)

    def loss(logits: torch.Tensor, agent: str) -> torch.Tensor:
        batch = {
            Columns.ACTION_LOGP: before,
            Postprocessing.ADVANTAGES: advantages,
            OUTCOMES: outcomes,
            KNOWN: known,
        }
        found: torch.Tensor = learner.compute_loss_for_module(
            module_id=agent,
            config=learner.config.get_config_for_module(agent),
            batch=batch,
            fwd_out={Columns.ACTION_DIST_INPUTS: logits},
        )
        return found

    for agent, idle, trading in (("fvg", 1, 0), ("momentum", 1, 0), ("entry", 0, 1)):
        log_p, total = torch.log_softmax(logits, dim=-1), 0.0
        for x in range(6):
            for a in range(3):
                ratio = float((log_p[x, a] - before[x, a]).exp())
                gain = float(advantages[x, a])
                clipped = min(max(ratio, 0.8), 1.2)
                total -= float(before[x, a].exp()) * min(ratio * gain, clipped * gain) / 6
                total += 0.25 * float(log_p[x, a].exp() * log_p[x, a]) / 6
            predicted = 0.25 * float(logits[x, trading] - logits[x, idle])
            total += 0.5 * (predicted - float(outcomes[x, 0])) ** 2 / 12
        assert float(loss(logits, agent)) == pytest.approx(total, rel=1e-4)
    # without entropy and outcomes only the surrogate is left
    learner._settings = CounterfactualConfig(temperature=1e-9, outcome_coef=0.0)
    start = old.clone().requires_grad_()
    loss(start, "fvg").backward()
    probabilities = before.exp()
    centered = advantages - (probabilities * advantages).sum(-1, keepdim=True)
    torch.testing.assert_close(start.grad, -probabilities * centered / 6)


@pytest.mark.ray
def test_actors_are_pre_trained_with_the_first_update_and_never_again(build: Any) -> None:
    algorithm = build(learner_config())
    learner = algorithm.learner_group._learner
    calls: list[str] = []
    once = learner._pretrain

    def counted() -> None:
        calls.append("pretrained")
        once()

    learner._pretrain = counted
    before = weights_of(algorithm)
    update(algorithm, 1)
    after = weights_of(algorithm)
    update(algorithm, 2)
    assert calls == ["pretrained"]
    for agent in AGENTS:
        assert np.any(after[agent]["actor.conv2.weight"] != before[agent]["actor.conv2.weight"])
    # each by a network of its own
    alike = [after[agent]["actor.fc1.weight"].ravel() for agent in AGENTS]
    assert np.corrcoef(alike)[np.triu_indices(3, 1)].max() < 0.5
    restored = build(learner_config()).learner_group._learner
    restored.set_state(learner.get_state())
    restored._pretrain = pytest.fail
    restored.update(episodes=EPISODES, num_epochs=1, minibatch_size=192, timesteps={})


@pytest.mark.ray
def test_learners_stay_in_step_and_draw_different_bars(build: Any) -> None:
    """Each is pre-trained alike; one that drew what the other draws would teach nothing."""
    config = learner_config()
    training = dataclasses.replace(
        config.training, num_learners=2, batch_size=4, accounts_per_bar=1
    )
    algorithm = build(dataclasses.replace(config, training=training))
    episodes = [segment(13, 400), segment(12, 700)]
    algorithm.learner_group.update(episodes=episodes, num_epochs=2, minibatch_size=2, timesteps={})

    def seen(learner: Any) -> tuple[Any, Any]:
        torch.manual_seed(4)
        drawn = learner._learner_connector[-1]._drawn()
        return learner.get_state()["rl_module"]["fvg"]["actor.fc1.weight"], drawn

    one, other = (each.get() for each in algorithm.learner_group.foreach_learner(seen))
    np.testing.assert_array_equal(one[0], other[0])
    assert len(one[1]) == len(other[1])
    assert np.any(one[1] != other[1])


@pytest.mark.ray
def test_a_frozen_actor_is_not_pre_trained(ray_instance: None) -> None:
    config = build_config(learner_config(), MarketHandle(SPEC), SCALE)
    algorithm = config.multi_agent(policies_to_train=["momentum"]).build_algo()
    try:
        before = weights_of(algorithm)
        update(algorithm, 1)
        after = weights_of(algorithm)
        moved = {m for m in after for n, v in after[m].items() if np.any(v != before[m][n])}
        assert moved == {"momentum", CRITIC}
    finally:
        algorithm.stop()
