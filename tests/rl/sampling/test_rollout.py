"""The buffer of a rollout, and the callbacks on its episodes."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ray.rllib.callbacks.callbacks import RLlibCallback

from rllib_tactical.bundle.networks import Standardization
from rllib_tactical.domain.types import AGENTS
from rllib_tactical.rl.algorithm.config import build_config
from rllib_tactical.rl.sampling.market_ref import MarketHandle
from rllib_tactical.rl.sampling.rollout import RolloutBuffer
from tests.rl.sampling.conftest import LENGTH, SPEC
from tests.rl.small import small_config


def standing(bars, features) -> Any:
    """Return what a buffer asks of a replay: the bar and the features of every account."""
    return SimpleNamespace(bar=bars, account_features=lambda: features)


def filled(steps=5, accounts=4, size=2):
    """Return a buffer with different values everywhere; a group's accounts stand on one bar."""
    buffer = RolloutBuffer.empty(steps, accounts, size, 4)
    rng = np.random.default_rng(0)
    for row in range(steps + 1):
        features = rng.normal(size=(accounts, 4)).astype(np.float32)
        starts = np.repeat(100 * np.arange(accounts // size), size)
        buffer.record_state(row, standing(starts + row, features))
        np.testing.assert_array_equal(buffer.account[row], features)
    for name in ("logp", "rewards"):
        getattr(buffer, name)[:] = rng.normal(size=(steps, accounts, 3))
    buffer.actions[:] = rng.integers(0, 3, (steps, accounts, 3))
    buffer.terminated[:] = rng.random((steps, accounts)) < 0.5
    return buffer


def test_a_segment_has_the_steps_of_its_group_and_the_state_after_them():
    buffer = filled()
    found = buffer.segment(1, 1, 4, "a", ended=True)
    assert (len(found), found.accounts, found.id_, found.ended) == (3, 2, "a", True)
    assert found.t.tolist() == [101, 102, 103, 104]
    np.testing.assert_array_equal(found.account, buffer.account[1:5, 2:])
    for name in ("actions", "logp", "rewards", "terminated"):
        np.testing.assert_array_equal(getattr(found, name), getattr(buffer, name)[1:4, 2:])


def test_an_account_alone_has_the_bars_of_its_group():
    buffer = filled()
    found = buffer.of_account(3, 0, 2, "b", ended=False)
    assert (len(found), found.accounts, found.ended) == (2, 1, False)
    assert found.t.tolist() == [100, 101, 102]
    np.testing.assert_array_equal(found.rewards, buffer.rewards[:2, 3:])


def test_a_segment_keeps_its_values_when_the_buffer_is_filled_again():
    buffer = filled()
    found = buffer.segment(0, 0, 5, "a", ended=False)
    before = {
        name: getattr(found, name).copy()
        for name in ("t", "account", "actions", "logp", "rewards", "terminated")
    }
    for name in before:
        getattr(buffer, name)[:] = 1
    for name, values in before.items():
        np.testing.assert_array_equal(getattr(found, name), values)


class Recorder(RLlibCallback):
    """Remembers every call."""

    calls: list[Any] = []  # noqa: RUF012 - one for all instances, RLlib makes its own

    def on_episode_created(self, *, episode, env_index, **kwargs):
        self.calls.append(("created", env_index, len(episode), episode.id_))

    def on_episode_start(self, *, episode, env_index, **kwargs):
        episode.custom_data["steps"] = 0
        self.calls.append(("start", env_index, len(episode), episode.id_))

    def on_episode_step(self, *, episode, env_index, rl_module, **kwargs):
        assert set(rl_module.keys()) == set(AGENTS)
        episode.custom_data["steps"] += 1
        self.calls.append(("step", env_index, len(episode), episode.id_))

    def on_episode_end(self, *, episode, env_index, prev_episode_chunks, metrics_logger, **kwargs):
        parts = [*prev_episode_chunks, episode]
        assert len({part.id_ for part in parts}) == 1
        assert episode.is_done
        length = sum(map(len, parts))
        assert episode.custom_data["steps"] == length
        metrics_logger.log_value("whole_length", length, reduce="max", window=1_000)
        self.calls.append(("end", env_index, length, episode.id_))


@pytest.mark.ray
def test_episode_callbacks_are_called_for_every_account(build):
    Recorder.calls = []
    runner = build(callbacks=Recorder, num_envs=4, steps_per_update=64, batch_size=32).env_runner
    for _ in range(5):
        runner.sample(num_timesteps=4 * 20)  # episodes of 32 bars reach over two samples
    calls = Recorder.calls
    by_kind = {kind: [c for c in calls if c[0] == kind] for kind in {c[0] for c in calls}}
    assert len(by_kind["step"]) == 5 * 80
    assert len(by_kind["created"]) == len(by_kind["start"]) == 4 + len(by_kind["end"])
    assert {c[2] for c in by_kind["start"]} == {0}
    ended = [c for c in by_kind["end"] if c[2] != LENGTH]
    assert len(ended) <= 4  # only the first ones are cut
    assert runner.get_metrics()["whole_length"].peek() == LENGTH
    # one account's life: start, steps, end, and the next start
    mine = [c[0] for c in calls if c[1] == 2 and c[0] in ("start", "step", "end")]
    first = mine.index("end")
    assert mine[0] == "start"
    assert set(mine[1:first]) == {"step"}
    assert mine[first + 1] == "start"


@pytest.mark.ray
def test_callbacks_as_functions_are_called_too(build):
    config = build_config(small_config(), MarketHandle(SPEC), Standardization.identity())
    ended = []
    config.callbacks(on_episode_end=lambda episode, **kwargs: ended.append(len(episode)))
    algorithm = config.build_algo()
    try:
        algorithm.env_runner.sample(num_episodes=3)
        assert len(ended) >= 3
    finally:
        algorithm.stop()
