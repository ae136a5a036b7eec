"""MAPPO by hand, checked by hand; the learner is compared with it in its own tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from rllib_tactical.bench.plain_mappo import DECAY, PlainMappo, Rollout, _standardized
from rllib_tactical.bundle.networks import Standardization
from rllib_tactical.domain.types import AGENTS
from rllib_tactical.rl.algorithm.credit import decisive_votes
from tests.market import random_spec
from tests.rl.small import small_config

pytestmark = pytest.mark.slow

SPEC = random_spec(length=12)


def plain(group_size: int = 1, **changes: Any) -> PlainMappo:
    torch.manual_seed(0)
    config = small_config(**{"num_envs": 8} | changes)
    return PlainMappo(config, SPEC, Standardization.identity(), group_size)


def test_a_rollout_holds_what_the_actors_and_the_market_gave() -> None:
    made = plain(group_size=4)
    rollout = made.sample(20)
    assert rollout.actions.shape == rollout.logp.shape == rollout.rewards.shape == (20, 8, 3)
    for group in (rollout.t[:, :4], rollout.t[:, 4:]):  # a group replays the same bars
        assert (group == group[:, :1]).all()
    inputs = torch.from_numpy(made.histories.gather(rollout.t.reshape(-1)))
    for i, actor in enumerate(made.actors):
        with torch.no_grad():
            expected = actor(inputs).log_softmax(-1).numpy()
        chosen = np.take_along_axis(expected, rollout.actions.reshape(-1, 3)[:, i : i + 1], 1)
        np.testing.assert_allclose(rollout.logp.reshape(-1, 3)[:, i], chosen[:, 0], atol=1e-5)
    on = ~rollout.cut[:-1]
    assert 0 < (~on).sum() < on.size  # episodes of 12 bars ended, and others went on
    np.testing.assert_array_equal(rollout.next_t[:-1][on], rollout.t[1:][on])
    np.testing.assert_array_equal(rollout.next_account[:-1][on], rollout.account[1:][on])
    assert (rollout.account[1:][~on, 0] == 0).all()  # a new episode begins flat


def two_steps(held: bool, terminated: bool = False, cut: bool = False) -> Rollout:
    """Return two steps of one account with rewards 1 and 2 for every agent.

    ``held``: a position after the first step; ``terminated``: by the second; ``cut``: after the
    first step another episode begins.
    """
    account = np.zeros((2, 1, 4), dtype=np.float32)
    after = account.copy()
    after[0, 0, 0] = float(held)
    ends = np.array([[cut], [terminated]])
    return Rollout(
        t=np.array([[400], [401]]),
        account=account,
        actions=np.zeros((2, 1, 3), dtype=np.int64),
        logp=np.zeros((2, 1, 3), dtype=np.float32),
        rewards=np.array([1.0, 2.0])[:, None, None].repeat(3, axis=-1),
        terminated=np.array([[False], [terminated]]),
        cut=ends,
        next_t=np.array([[401], [402]]),
        next_account=after,
    )


@pytest.mark.parametrize(
    ("trace", "rollout", "expected"),
    [
        # V = 2, gamma = lambda = .5: d_0 = 1 + 1 - 2 = 0, d_1 = 2 + 1 - 2 = 1, A_0 = d_0 + d_1 / 4
        ("episode", two_steps(held=False), (0.25, 1.0)),
        ("trade", two_steps(held=True), (0.25, 1.0)),
        ("trade", two_steps(held=False), (0.0, 1.0)),  # later rewards are of later decisions
        ("episode", two_steps(held=True, cut=True), (0.0, 1.0)),  # and of another episode
        ("episode", two_steps(held=True, terminated=True), (0.0, 0.0)),  # d_1 = 2 + 0 - 2
    ],
)
def test_advantages_by_hand(trace: str, rollout: Rollout, expected: tuple[float, float]) -> None:
    made = plain(gamma=0.5, gae_lambda=0.5, trace=trace)
    with torch.no_grad():
        made.critic.heads.weight.zero_()
        made.critic.heads.bias.fill_(2.0)
    advantages, targets = made.advantages(rollout)
    np.testing.assert_allclose(advantages[:, 0], np.array(expected)[:, None].repeat(3, 1))
    np.testing.assert_allclose(targets, advantages + 2.0)


def test_decisive_votes_are_those_that_the_product_credits() -> None:
    made = plain()
    rollout = made.sample(60)
    found = made.decisive(rollout)
    kind, direction, closing = made.histories.decision_context(rollout.t.reshape(-1), 5)
    side, halted = rollout.account[..., 0], rollout.account[..., 3] >= 1.0
    expected = decisive_votes(
        rollout.actions.reshape(-1, 1, 3),
        side.reshape(-1, 1),
        (halted.reshape(-1) | closing)[:, None],
        kind,
        direction,
        SPEC.train_confidence,
        SPEC.rules,
    )
    np.testing.assert_array_equal(found.reshape(-1, 1, 3), expected)
    assert 0.05 < found.mean() < 0.95


def test_weighted_advantages_by_hand() -> None:
    advantages = np.array([1.0, 3.0, 50.0, 60.0])[:, None, None]
    weight = np.array([1.0, 1.0, 0.0, 0.0])[:, None, None]
    # mean 2 and deviation 1 of the two that count; their weights average to one over all rows
    np.testing.assert_allclose(_standardized(advantages, weight)[:, 0, 0], [-2.0, 2.0, 0.0, 0.0])


def test_what_earns_is_done_more_often() -> None:
    """Every agent earns 1 for its first action and nothing for the others."""
    made = plain(gamma=0.01, credit="all", epochs=4, batch_size=128, actor_lr=3e-3)
    share = []
    for _ in range(4):
        rollout = made.sample(64)
        rollout.rewards[:] = rollout.actions == 0
        share.append((rollout.actions == 0).mean((0, 1)))
        made.update(rollout)
    assert (share[-1] > share[0] + 0.1).all(), dict(zip(AGENTS, share[-1], strict=True))


def test_the_scale_of_values_follows_the_targets() -> None:
    made = plain(credit="all")
    rollout = made.sample(16)
    _, targets = made.advantages(rollout)
    made.update(rollout)
    assert made.weight == pytest.approx(1 - DECAY)
    np.testing.assert_allclose(made.moment1 / made.weight, targets.mean((0, 1)))
    np.testing.assert_allclose(made.moment2 / made.weight, (targets**2).mean((0, 1)))
