"""What a rollout records is what the simulator did, whoever goes bankrupt on the way."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rllib_tactical.bench.plain_mappo import PlainMappo, Rollout
from rllib_tactical.bundle.networks import Standardization
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.config.training import TrainingConfig
from rllib_tactical.domain.simulation.episodes import ReplaySet
from rllib_tactical.domain.types import AGENTS
from rllib_tactical.rl.algorithm.ablations import class_for
from rllib_tactical.rl.algorithm.config import module_spec
from rllib_tactical.rl.algorithm.connector import CentralizedBatch
from rllib_tactical.rl.names import CRITIC
from rllib_tactical.rl.sampling.env_runner import BatchedEnvRunner, _ReplaySpaces
from rllib_tactical.rl.sampling.rollout import EVENTS, EpisodeCallbacks
from tests.market import random_spec
from tests.rl.segments import open_market

STEPS, ACCOUNTS, GROUP = 40, 8, 4
SPEC = random_spec(length=16)
CONFIG = TacticalConfig(
    training=TrainingConfig(
        steps_per_update=128,
        batch_size=64,
        num_envs=ACCOUNTS,
        accounts_per_bar=GROUP,
        credit="all",  # every step's advantage is compared
    )
)


@pytest.fixture(scope="module")
def rolled():
    """A rollout of a runner without Ray: its segments, and every step as the replay saw it."""
    replay = ReplaySet(SPEC.replays(ACCOUNTS, 3, GROUP))
    runner = BatchedEnvRunner.__new__(BatchedEnvRunner)
    runner.module = module_spec(CONFIG, Standardization.identity()).build()
    runner.config = SimpleNamespace(**{f"callbacks_{event}": None for event in EVENTS})
    runner.metrics = SimpleNamespace(log_value=lambda *args, **kwargs: None)
    runner.num_envs, runner.env = ACCOUNTS, _ReplaySpaces(replay)
    runner._rng, runner._confidence, runner._ended = np.random.default_rng(1), 1.0, []
    runner._callbacks, runner._device = None, "cpu"
    runner._callbacks_of_episodes = EpisodeCallbacks(runner)
    runner._reset(stagger=True)
    steps: list[Any] = []
    step = replay.step

    def watched(votes):
        if len(steps) in (5, 11):
            replay.replays[0].simulator.cash[2] = -1e9
        before = replay.bar.copy(), replay.account_features()
        moved = step(votes)
        cut = moved.terminated | moved.truncated
        after = replay.bar.copy(), replay.account_features()
        steps.append((*before, votes.index, moved.rewards, moved.terminated, cut, *after))
        return moved

    replay.step = watched  # type: ignore[method-assign]
    segments = runner._rollout(STEPS, True, False)
    columns = [np.stack(column) for column in zip(*steps, strict=True)]
    t, account, actions, rewards, terminated, cut, next_t, next_account = columns
    logp = np.zeros((), np.float32)
    seen = Rollout(
        t,
        account,
        actions,
        logp,
        rewards,
        terminated,
        cut,
        next_t,
        next_account,
    )
    assert terminated.sum() == 2
    assert (cut & ~terminated).any()
    return runner, segments, seen


def in_order(*columns):
    """Return rows (N, ...) sorted by all columns, the last one least."""
    rows = np.concatenate([column.reshape(len(columns[0]), -1) for column in columns], axis=1)
    return rows[np.lexsort(np.round(rows, 5).T[::-1])]


def test_states_actions_and_advantages_are_those_of_every_single_step(rolled):
    """Each step's advantage by hand, beside its bar, account and actions."""
    runner, segments, seen = rolled
    plain = PlainMappo(CONFIG, SPEC, Standardization.identity(), GROUP)
    plain.critic.load_state_dict(runner.module[CRITIC].critic.state_dict())
    advantages, _ = plain.advantages(seen)
    expected = (advantages - advantages.mean((0, 1))) / advantages.std((0, 1))
    training = CONFIG.training
    connector = class_for(CentralizedBatch, CONFIG)(
        market=open_market(SPEC), gamma=training.gamma, lambda_=training.gae_lambda
    )
    batch = connector(rl_module=runner.module, batch={}, episodes=segments)
    t = np.concatenate([np.repeat(part.t[:-1, None], GROUP, 1) for part in segments])
    found = in_order(
        t.reshape(-1, 1),
        np.concatenate([part.account[:-1] for part in segments]).reshape(-1, 4),
        np.concatenate([part.actions for part in segments]).reshape(-1, 3),
        np.stack([batch[agent]["advantages"].numpy() for agent in AGENTS], -1).reshape(-1, 3),
    )
    wanted = in_order(
        seen.t.reshape(-1, 1),
        seen.account.reshape(-1, 4),
        seen.actions.reshape(-1, 3),
        expected.reshape(-1, 3),
    )
    assert found.shape == (STEPS * ACCOUNTS, 11)
    np.testing.assert_allclose(found, wanted, atol=2e-5)


def test_episode_metrics_are_those_of_each_account(rolled):
    runner, _, seen = rolled
    expected = []
    for i in range(ACCOUNTS):
        begins = 0
        for end in np.flatnonzero(seen.cut[:, i]) + 1:
            rewards = seen.rewards[begins:end, i]
            expected.append((len(rewards), *rewards.sum(0)))
            begins = int(end)
    found = [(length, *returns) for length, returns in runner._ended]
    np.testing.assert_allclose(sorted(found), sorted(expected), atol=1e-9)
