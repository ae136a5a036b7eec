"""What travels from an env runner to the learner: one account's steps, by reference to the tape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rllib_tactical.domain.types import NUM_AGENTS, Float32Array

BYTES_PER_STEP = 4 + 4 * 4 + NUM_AGENTS * (1 + 4 + 4)
"""Bar index, account features, and per agent the action, its log probability and the reward."""


@dataclass(slots=True)
class JointEpisode:
    """A segment of L steps of one account with all agents in lockstep.

    Offers what RLlib's PPO asks of an episode (length, slicing, step counts), so that it can be
    sampled, sharded over learners and counted like RLlib's own.

    ``t`` (L+1,) int32: the running bar number (over all instruments) of each state, the last one
    included; ``account`` (L+1, 4) float32;
    ``actions`` (L, 3) int8; ``logp`` (L, 3) float32; ``rewards`` (L, 3) float32.
    """

    id_: str
    t: NDArray[np.int32]
    account: Float32Array
    actions: NDArray[np.int8]
    logp: Float32Array
    rewards: Float32Array
    is_terminated: bool
    is_truncated: bool

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def is_done(self) -> bool:
        """Whether the episode ended with this segment."""
        return self.is_terminated or self.is_truncated

    def env_steps(self) -> int:
        """Number of environment steps."""
        return len(self)

    def agent_steps(self) -> int:
        """Number of agent steps: three per environment step."""
        return len(self) * NUM_AGENTS

    def slice(self, part: slice, len_lookback_buffer: int | None = None) -> JointEpisode:
        """Return the steps of ``part``; the flags stay with the segment's last step."""
        start, stop, _ = part.indices(len(self))
        last = stop == len(self)
        return JointEpisode(
            self.id_,
            self.t[start : stop + 1],
            self.account[start : stop + 1],
            self.actions[start:stop],
            self.logp[start:stop],
            self.rewards[start:stop],
            self.is_terminated and last,
            self.is_truncated and last,
        )

    __getitem__ = slice
