"""The centralized batch and its minibatches, on the real modules without a running algorithm."""

import copy

import numpy as np
import pytest
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.env.multi_agent_episode import MultiAgentEpisode
from ray.rllib.evaluation.postprocessing import Postprocessing

from envs.multi_agent import TacticalMultiAgentEnv
from envs.parallel import ACCOUNT_STATE, BAR, TacticalParallelEnv
from rllib_tactical.bundle.networks import Standardization
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.domain.types import AGENTS
from rllib_tactical.errors import (
    TrainingError,
)
from rllib_tactical.rl.algorithm.ablations import EveryVote, WholeEpisodes
from rllib_tactical.rl.algorithm.config import module_spec
from rllib_tactical.rl.algorithm.connector import Minibatches, as_joint_episode
from rllib_tactical.rl.algorithm.gae import generalized_advantages
from rllib_tactical.rl.names import CRITIC, STATE
from tests.market import random_spec
from tests.rl.segments import open_market, segment

SPEC = random_spec()


@pytest.fixture
def modules():
    torch.manual_seed(0)
    return module_spec(TacticalConfig(), Standardization.identity()).build()


class PlainBatch(EveryVote, WholeEpisodes):
    """Advantages of the textbook: every vote counts, and returns reach to the episode's end."""


def make_batch(modules, episodes):
    connector = PlainBatch(market=open_market(SPEC), gamma=0.99, lambda_=0.95)
    return connector(rl_module=modules, batch={}, episodes=episodes)


def test_actors_get_their_own_rows_and_the_critic_the_global_state(modules):
    episodes = [segment(5, 400, accounts=2), segment(3, 700, accounts=2, ended=True, seed=1)]
    batch = make_batch(modules, episodes)
    steps_t = np.r_[np.arange(400, 405), np.arange(700, 703)]
    inputs = SPEC.parts[0].history.inputs.gather(steps_t)
    for i, agent in enumerate(AGENTS):
        np.testing.assert_array_equal(batch[agent][Columns.OBS].numpy(), inputs)
        np.testing.assert_array_equal(
            batch[agent][Columns.ACTIONS].numpy(),
            np.concatenate([part.actions[..., i] for part in episodes]),
        )
    state = batch[CRITIC][STATE].numpy()
    assert state.shape == (8, 2, 13)
    np.testing.assert_array_equal(state[:5, :, :4], episodes[0].account[:5])
    for k in range(2):
        np.testing.assert_array_equal(
            state[:, k, 4:], SPEC.parts[0].history.market_features(steps_t)
        )


def test_accounts_of_one_bar_get_what_they_would_get_alone(modules):
    """One segment of two accounts against two segments of one: the same advantages, half the rows.

    An account that went bankrupt in the middle of the group's segment is an episode of its own.
    """
    together = segment(6, 400, accounts=2, seed=3)
    together.terminated[2, 1] = True
    alone = [part for k in range(2) for part in together.by_account(k)]
    assert [len(part) for part in alone] == [6, 3, 3]
    assert [part.is_done for part in alone] == [False, True, False]
    shared = make_batch(copy.deepcopy(modules), [together])  # a batch moves the critic's moments
    single = make_batch(copy.deepcopy(modules), alone)
    for agent in AGENTS:
        assert shared[agent][Columns.OBS].shape == (6, 60, 7)
        for column in (Columns.ACTIONS, Columns.ACTION_LOGP, Postprocessing.ADVANTAGES):
            np.testing.assert_allclose(
                shared[agent][column].numpy().T.ravel(),
                single[agent][column].numpy().ravel(),
                atol=1e-5,
            )
    np.testing.assert_allclose(
        shared[CRITIC][Postprocessing.VALUE_TARGETS].numpy().swapaxes(0, 1).reshape(-1, 3),
        single[CRITIC][Postprocessing.VALUE_TARGETS].numpy()[:, 0],
        atol=1e-4,
    )


def test_every_epoch_shows_every_row_once_and_to_all_modules_alike(modules):
    """Sorted by bar, every minibatch of the first epoch would come from one stretch of time."""
    batch = make_batch(modules, [segment(50, 400, accounts=2)])
    order = {row.numpy().tobytes(): i for i, row in enumerate(batch["fvg"][Columns.OBS])}
    torch.manual_seed(1)
    minibatches = list(Minibatches(batch, epochs=2, count=4))
    assert [part.env_steps() for part in minibatches] == [26, 26, 24, 24] * 2
    epochs = []
    for epoch in (minibatches[:4], minibatches[4:]):
        seen = []
        for part in epoch:
            rows = [order[r.numpy().tobytes()] for r in part.policy_batches["fvg"][Columns.OBS]]
            for module, columns in part.policy_batches.items():
                for name, values in columns.items():
                    torch.testing.assert_close(values, batch[module][name][rows])
            inputs = {id(columns[Columns.OBS]) for columns in part.policy_batches.values()}
            assert len(inputs) == 1  # gathered once, not four times
            seen += rows
        assert sorted(seen) == list(range(50))
        assert seen != list(range(50))
        epochs.append(seen)
    assert epochs[0] != epochs[1]


@pytest.mark.slow
def test_equal_advantages_stay_finite(modules):
    """Rounding may leave a variance below zero, whose root is not a number."""
    flat = segment(64, 400)
    flat.rewards[:] = 0.1
    modules[CRITIC].critic.heads.weight.data.zero_()
    connector = PlainBatch(market=open_market(SPEC), gamma=1e-9, lambda_=1e-9)
    for scale in np.random.default_rng(0).uniform(0.05, 0.3, 50):
        flat.rewards[:] = scale
        batch = connector(rl_module=copy.deepcopy(modules), batch={}, episodes=[flat])
        assert torch.isfinite(batch["fvg"][Postprocessing.ADVANTAGES]).all()


def test_rewards_that_are_not_finite_never_reach_the_moments(modules):
    broken = segment(5, 400)
    broken.rewards[2, 0, 1] = np.nan
    with pytest.raises(TrainingError, match="not finite"):
        make_batch(modules, [broken])
    assert modules[CRITIC].moment_weight == 0.0


def test_advantages_come_from_the_critic_and_bootstrap_the_true_last_state(modules):
    episodes = [segment(5, 400), segment(3, 700, ended=True, seed=1)]
    critic = modules[CRITIC]
    t = np.r_[np.arange(400, 406), np.arange(700, 704)]
    account = np.concatenate([part.account for part in episodes])[:, 0]
    state = np.concatenate([account, SPEC.parts[0].history.market_features(t)], axis=1)
    inputs = torch.from_numpy(SPEC.parts[0].history.inputs.gather(t))
    values = critic.values(inputs, torch.from_numpy(state)[:, None])[:, 0].numpy()
    expected, _ = generalized_advantages(
        values.astype(np.float64),
        np.concatenate([part.rewards for part in episodes])[:, 0].astype(np.float64),
        np.array([0, 0, 0, 0, 0, 0, 0, 1], dtype=bool)[:, None],
        np.array([5, 3]),
        0.99,
        0.95,
    )
    expected = (expected - expected.mean(0)) / expected.std(0)
    batch = make_batch(modules, episodes)
    for i, agent in enumerate(AGENTS):
        np.testing.assert_allclose(
            batch[agent][Postprocessing.ADVANTAGES].numpy()[:, 0], expected[:, i], atol=1e-5
        )


def test_an_episode_of_the_stock_runner_becomes_one_of_the_batched():
    """Driven as RLlib's runner drives it: its bars and accounts come from the infos."""
    env = TacticalMultiAgentEnv(TacticalParallelEnv(random_spec(length=12)))
    episode = MultiAgentEpisode(
        observation_space=env.observation_spaces, action_space=env.action_spaces
    )
    observations, infos = env.reset(seed=3)
    episode.add_env_reset(observations=observations, infos=infos)
    rng, expected = np.random.default_rng(0), [infos["fvg"]]
    actions, rewards, logps = [], [], []
    while not episode.is_done:
        actions.append(rng.integers(0, 3, 3))
        logps.append(np.log(rng.uniform(0.2, 0.9, 3)).astype(np.float32))
        step = env.step(dict(zip(AGENTS, actions[-1], strict=True)))
        episode.add_env_step(
            step[0],
            dict(zip(AGENTS, actions[-1], strict=True)),
            step[1],
            step[4],
            terminateds=step[2],
            truncateds=step[3],
            extra_model_outputs={
                agent: {Columns.ACTION_LOGP: logp}
                for agent, logp in zip(AGENTS, logps[-1], strict=True)
            },
        )
        rewards.append([step[1][agent] for agent in AGENTS])
        expected.append(step[4]["fvg"])
    found = as_joint_episode(episode)
    assert (len(found), found.accounts) == (12, 1)
    assert found.t.tolist() == [info[BAR] for info in expected]
    np.testing.assert_array_equal(found.account[:, 0], [info[ACCOUNT_STATE] for info in expected])
    np.testing.assert_array_equal(found.actions[:, 0], actions)
    np.testing.assert_array_equal(found.logp[:, 0], logps)
    np.testing.assert_allclose(found.rewards[:, 0], rewards, rtol=1e-6)
    assert found.is_truncated
    assert not found.terminated.any()
    assert as_joint_episode(found) is found
