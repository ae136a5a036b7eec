"""Accounts on several instruments that replay the same times and share places for positions.

Account i of every instrument stands on the same bar, and together they open at most so many
positions at a time (``PositionBudget``). What one of them earns is a reward of all of them, because
a place that one holds is one that the others lack: so the critic learns what a free place is worth.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from rllib_tactical.domain.decision.position_budget import PositionBudget
from rllib_tactical.domain.decision.votes import Votes
from rllib_tactical.domain.preconditions import require_shape
from rllib_tactical.domain.simulation.episodes import Outcome, Replay, ReplaySet, ReplayStep
from rllib_tactical.domain.simulation.together import step_within
from rllib_tactical.domain.types import NUM_AGENTS, Float32Array, IntArray
from rllib_tactical.errors import DataError


class CoupledReplays(ReplaySet):
    """Replays of instruments at the same times, each with as many accounts, that share places.

    Args:
        replays: made with one seed, so that they draw the same episodes.
        places: most positions that the accounts of one number may have open at a time.

    Raises:
        DataError: the instruments' bars or splits are not at the same times.
        ConfigError: there is no place.
    """

    def __init__(self, replays: list[Replay], places: int) -> None:
        super().__init__(replays)
        for replay in replays[1:]:
            _require_same_times(replays[0], replay)
        self._budget = PositionBudget(len(replays), places, replays[0].num_accounts)
        self._require_together()

    def reset(self, stagger: bool = False) -> None:
        """Restart every episode; ``stagger`` as of ``Replay.reset``."""
        super().reset(stagger)
        self._require_together()

    def restart(self, accounts: IntArray) -> None:
        """Start new episodes for ``accounts`` (K,), given in ascending order.

        Raises:
            DataError: the accounts of one number would no longer stand on one bar.
        """
        super().restart(accounts)
        self._require_together()

    def account_features(self) -> Float32Array:
        """Return the critic's view of the accounts (N, 5) float32, see ``COUPLED_FEATURES``.

        The last is how many places the other accounts hold, as a share of all.
        """
        self._mark()
        elsewhere = [self._budget.elsewhere(k) for k in range(len(self.replays))]
        return np.column_stack([super().account_features(), np.concatenate(elsewhere)]).astype(
            np.float32
        )

    def step(self, votes: Votes) -> Outcome:
        """Step every episode by one bar, the instruments one after the other; votes are (N, 3).

        Rewards are the sum over the instruments. Where an account has no equity left the episodes
        of all accounts of its number end for good.

        Raises:
            ArrayError: votes of another rank, shape or dtype, or out of range.
        """
        require_shape(votes.index, (self.num_accounts, NUM_AGENTS), np.integer, "votes.index")
        self._mark()
        moved = [
            replay.ended(step_within(self._budget, k, replay.simulator, self.part_of(votes, k)))
            for k, replay in enumerate(self.replays)
        ]
        over = np.any([each.terminated for each in moved], axis=0)
        moved = [
            ReplayStep(each.step, each.terminated | over, each.truncated & ~over) for each in moved
        ]
        found = self.joined(moved)
        rewards = found.rewards.reshape(len(self.replays), -1, NUM_AGENTS).sum(axis=0)
        return dataclasses.replace(found, rewards=np.tile(rewards, (len(self.replays), 1)))

    def _mark(self) -> None:
        for k, replay in enumerate(self.replays):
            self._budget.mark(k, replay.simulator.side)

    def _require_together(self) -> None:
        first = self.replays[0].t
        if not all(np.array_equal(first, replay.t) for replay in self.replays[1:]):
            raise DataError("accounts that share places must stand on one bar: they have parted")


def _require_same_times(one: Replay, other: Replay) -> None:
    """Refuse instruments whose accounts cannot stand on one bar.

    Raises:
        DataError: names them and what differs.
    """
    names = f"{one.history.instrument.symbol} and {other.history.instrument.symbol}"
    for what, same in (
        ("number of accounts", one.num_accounts == other.num_accounts),
        ("times", _same(one, other, "bars", "timestamp_s")),
        ("sessions", _same(one, other, "sessions", "is_first", "is_last")),
        ("split", one.split == other.split),
        ("first decision", one.history.first_decision == other.history.first_decision),
    ):
        if not same:
            raise DataError(
                f"episodes.positions needs files with the same bars: {names} differ in {what}"
            )


def _same(one: Replay, other: Replay, part: str, *columns: str) -> bool:
    mine, others = getattr(one.history, part), getattr(other.history, part)
    return all(np.array_equal(getattr(mine, name), getattr(others, name)) for name in columns)
