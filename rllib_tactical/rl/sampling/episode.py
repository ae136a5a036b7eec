"""What env runners send to the learner: steps of a group, as references to market history."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_tactical.domain.types import NUM_AGENTS, BoolArray, Float32Array
from rllib_tactical.rl.sampling.packing import Steps, packed, unpacked


@dataclass(slots=True)
class JointEpisode:
    """A segment of L bars of K accounts that replay the same bars, all agents in lockstep.

    Offers what RLlib's PPO asks of an episode (length, slicing, step counts), so that it can be
    sampled, sharded over learners and counted like RLlib's own. A segment is never cut between
    accounts, so the accounts of a bar reach the same learner.

    ``t`` (L+1,) int32: the running bar number (over all instruments) of each state, the last one
    included; ``account`` (L+1, K, F) float32 with F account features; ``actions`` (L, K, 3) int8;
    ``logp`` and ``rewards`` (L, K, 3) float32, ``logp`` (L, K, 0) where no actor learns from it;
    ``terminated`` (L, K) bool: the account's episode ended with this step, and its next state
    belongs to another one. ``ended``: the episodes of all accounts end with the last step.
    ``custom_data`` is what a user's
    callbacks keep with an episode. Pickled, the arrays are packed without loss.
    """

    id_: str
    t: NDArray[np.int32]
    account: Float32Array
    actions: NDArray[np.int8]
    logp: Float32Array
    rewards: Float32Array
    terminated: BoolArray
    ended: bool
    custom_data: dict[str, Any] | None = None

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def accounts(self) -> int:
        """Number of accounts K."""
        return int(self.rewards.shape[1])

    @property
    def is_terminated(self) -> bool:
        """Whether the last step ended every account for good."""
        return len(self) > 0 and bool(self.terminated[-1].all())

    @property
    def is_truncated(self) -> bool:
        """Whether the episodes end with the last step though its state still has a value."""
        return self.ended and not self.is_terminated

    @property
    def is_done(self) -> bool:
        """Whether the accounts' episodes ended with this segment."""
        return self.is_terminated or self.ended

    def get_return(self) -> float:
        """Return the sum of the rewards of all agents and accounts in this segment."""
        return float(self.rewards.sum())

    def env_steps(self) -> int:
        """Number of environment steps: one per bar and account."""
        return len(self) * self.accounts

    def agent_steps(self) -> int:
        """Number of agent steps: three per environment step."""
        return self.env_steps() * NUM_AGENTS

    def slice(self, part: slice, len_lookback_buffer: int | None = None) -> JointEpisode:
        """Return the bars of ``part``; truncation stays with the segment's last step."""
        start, stop, _ = part.indices(len(self))
        return JointEpisode(
            self.id_,
            self.t[start : stop + 1],
            self.account[start : stop + 1],
            self.actions[start:stop],
            self.logp[start:stop],
            self.rewards[start:stop],
            self.terminated[start:stop],
            self.ended and stop == len(self),
        )

    __getitem__ = slice  # RLlib uses both names

    def __reduce__(self) -> tuple[Any, ...]:
        steps = Steps(self.t, self.account, self.actions, self.logp, self.rewards, self.terminated)
        return _unpickled, (self.id_, packed(steps), self.ended, self.custom_data)

    def without_logp(self) -> JointEpisode:
        """Return the segment for a learner whose actors do not learn from what was sampled."""
        return dataclasses.replace(self, logp=self.logp[..., :0])

    def by_account(self, k: int) -> list[JointEpisode]:
        """Return account ``k``'s part as segments of one account, cut where an episode ended."""
        mine = slice(k, k + 1)
        alone = JointEpisode(
            f"{self.id_}.{k}",
            self.t,
            self.account[:, mine],
            self.actions[:, mine],
            self.logp[:, mine],
            self.rewards[:, mine],
            self.terminated[:, mine],
            self.ended,
        )
        ends = np.flatnonzero(alone.terminated[:, 0]) + 1
        edges = [0, *ends.tolist(), len(self)]
        return [alone[i:j] for i, j in itertools.pairwise(edges) if j > i]


def joined(segments: list[JointEpisode]) -> JointEpisode:
    """Return consecutive segments of the same accounts as one."""
    if len(segments) == 1:
        return segments[0]
    last = segments[-1]
    return JointEpisode(
        last.id_,
        np.concatenate([*(part.t[:-1] for part in segments[:-1]), last.t]),
        np.concatenate([*(part.account[:-1] for part in segments[:-1]), last.account]),
        np.concatenate([part.actions for part in segments]),
        np.concatenate([part.logp for part in segments]),
        np.concatenate([part.rewards for part in segments]),
        np.concatenate([part.terminated for part in segments]),
        last.ended,
    )


def _unpickled(
    id_: str, data: bytes, ended: bool, custom_data: dict[str, Any] | None
) -> JointEpisode:
    return JointEpisode(id_, *unpacked(data), ended, custom_data)
