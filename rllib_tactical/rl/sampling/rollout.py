"""The buffer of a rollout, and RLlib's callbacks on its episodes."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.callbacks.utils import make_callback

from rllib_tactical.domain.simulation.episodes import ReplaySet
from rllib_tactical.domain.types import NUM_AGENTS, BoolArray, Float32Array, IntArray
from rllib_tactical.rl.sampling.episode import JointEpisode

EVENTS = ("on_episode_created", "on_episode_start", "on_episode_step", "on_episode_end")


@dataclass(slots=True)
class RolloutBuffer:
    """The steps of N accounts in groups of ``size``; see ``JointEpisode`` for the arrays."""

    size: int
    t: NDArray[np.int32]
    account: Float32Array
    actions: NDArray[np.int8]
    logp: Float32Array
    rewards: Float32Array
    terminated: BoolArray

    @classmethod
    def empty(cls, steps: int, accounts: int, size: int, features: int) -> RolloutBuffer:
        """Return a buffer for ``steps`` steps of ``accounts`` accounts in groups of ``size``.

        The critic sees ``features`` numbers of each account.
        """
        agents = (steps, accounts, NUM_AGENTS)
        return cls(
            size,
            t=np.empty((steps + 1, accounts // size), dtype=np.int32),
            account=np.empty((steps + 1, accounts, features), dtype=np.float32),
            actions=np.empty(agents, dtype=np.int8),
            logp=np.empty(agents, dtype=np.float32),
            rewards=np.empty(agents, dtype=np.float32),
            terminated=np.empty((steps, accounts), dtype=np.bool_),
        )

    def record_state(self, row: int, replay: ReplaySet) -> None:
        """Record the bar and the features of every account before step ``row``."""
        self.t[row], self.account[row] = replay.bar[:: self.size], replay.account_features()

    def segment(self, group: int, start: int, stop: int, id_: str, ended: bool) -> JointEpisode:
        """Return a group's steps ``start`` <= k < ``stop``; ``ended``: its episodes end there."""
        mine = slice(group * self.size, (group + 1) * self.size)
        return self._segment(mine, start, stop, id_, ended)

    def of_account(self, i: int, start: int, stop: int, id_: str, ended: bool) -> JointEpisode:
        """Return one account's steps ``start`` <= k < ``stop``."""
        return self._segment(slice(i, i + 1), start, stop, id_, ended)

    def _segment(self, mine: slice, start: int, stop: int, id_: str, ended: bool) -> JointEpisode:
        return JointEpisode(
            id_,
            self.t[start : stop + 1, mine.start // self.size].copy(),
            self.account[start : stop + 1, mine].copy(),
            self.actions[start:stop, mine].copy(),
            self.logp[start:stop, mine].copy(),
            self.rewards[start:stop, mine].copy(),
            self.terminated[start:stop, mine].copy(),
            ended,
        )


class EpisodeCallbacks:
    """RLlib's ``on_episode_*`` callbacks, one episode per account; costs nothing when none is set.

    ``episode`` is the part since the last call of ``sample``; ``prev_episode_chunks`` of
    ``on_episode_end`` are the parts before it. Its ``custom_data`` lasts from creation to end.
    """

    def __init__(self, runner: Any) -> None:
        self._runner = runner
        self._wanted = {event for event in EVENTS if self._has(event)}

    def _has(self, event: str) -> bool:
        objects = self._runner._callbacks or []
        objects = objects if isinstance(objects, list | tuple) else [objects]
        default = getattr(RLlibCallback, event)
        overridden = any(getattr(type(each), event, default) is not default for each in objects)
        return overridden or bool(getattr(self._runner.config, f"callbacks_{event}"))

    def reset(self) -> None:
        """Drop all episodes: every account starts a new one with the next rollout."""
        accounts = self._runner.num_envs
        self._ids = [""] * accounts
        self._before: list[list[JointEpisode]] = [[] for _ in range(accounts)]
        self._custom: list[dict[str, Any]] = [{} for _ in range(accounts)]

    def begin_rollout(self, buffer: RolloutBuffer) -> None:
        """Take the buffer of the next rollout and start the episodes that have not started."""
        self._buffer = buffer
        self._first = [0] * self._runner.num_envs
        if self._wanted:
            self._start(0, [i for i, id_ in enumerate(self._ids) if not id_])

    def stepped(self, k: int, done: IntArray) -> None:
        """Notify of step ``k`` of every account, and of the episodes that ended with it."""
        if "on_episode_step" in self._wanted:
            for i in range(self._runner.num_envs):
                self._call("on_episode_step", i, self._so_far(i, k + 1, ended=False))
        if "on_episode_end" in self._wanted:
            for i in done.tolist():
                episode = self._so_far(i, k + 1, ended=True)
                self._call("on_episode_end", i, episode, prev_episode_chunks=self._before[i])

    def restarted(self, row: int, accounts: IntArray) -> None:
        """Notify of the episodes that start at ``row``."""
        if self._wanted:
            self._start(row, accounts.tolist())

    def end_rollout(self, steps: int) -> None:
        """Keep the unfinished parts for ``prev_episode_chunks``."""
        if "on_episode_end" in self._wanted:
            for i, first in enumerate(self._first):
                if first < steps:
                    self._before[i].append(self._so_far(i, steps, ended=False))

    def _start(self, row: int, accounts: list[int]) -> None:
        for i in accounts:
            self._ids[i], self._first[i] = uuid.uuid4().hex, row
            self._before[i], self._custom[i] = [], {}
            for event in ("on_episode_created", "on_episode_start"):
                if event in self._wanted:
                    self._call(event, i, self._buffer.of_account(i, row, row, self._ids[i], False))

    def _so_far(self, i: int, stop: int, ended: bool) -> JointEpisode:
        return self._buffer.of_account(i, self._first[i], stop, self._ids[i], ended)

    def _call(self, event: str, i: int, episode: JointEpisode, **more: Any) -> None:
        runner = self._runner
        episode.custom_data = self._custom[i]
        make_callback(
            event,
            callbacks_objects=runner._callbacks,
            callbacks_functions=getattr(runner.config, f"callbacks_{event}"),
            kwargs={
                "episode": episode,
                "env_runner": runner,
                "metrics_logger": runner.metrics,
                "env": runner.env,
                "rl_module": runner.module,
                "env_index": i,
                **more,
            },
        )
