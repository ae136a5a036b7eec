"""Episodes: N accounts that start at random bars of a split and step together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.votes import Votes
from rllib_tactical.domain.preconditions import require_shape
from rllib_tactical.domain.simulation.history import MarketHistory, Split
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.simulation.simulator import (
    ACCOUNT_FEATURES,
    COUPLED_FEATURES,
    Simulator,
)
from rllib_tactical.domain.simulation.transition import Step
from rllib_tactical.domain.types import (
    NUM_AGENTS,
    BoolArray,
    Float32Array,
    FloatArray,
    IntArray,
    StrictConfig,
)
from rllib_tactical.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeConfig(StrictConfig):
    """What an episode is.

    ``kind`` "bars": a fixed number of bars (``length``) from a random bar; "session": a random
    session from its first bar to its last. What fills cost is multiplied by a factor drawn per
    account and episode between the two ``cost_factors``; sizes are made for the nominal costs.
    ``positions``: most positions that all instruments together may have open, on accounts that
    replay the same times; None: each instrument for itself.

    Raises:
        ConfigError: a value is outside its range; the message names the field.
    """

    kind: str = "bars"
    length: int = 256
    cost_factors: tuple[float, float] = (1.0, 1.0)
    positions: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("bars", "session"):
            raise ConfigError(f'episodes.kind must be "bars" or "session", found {self.kind!r}')
        if self.length < 2:
            raise ConfigError(f"episodes.length must be >= 2, found {self.length!r}")
        low, high = self.cost_factors
        if not 0.0 <= low <= high < np.inf:
            raise ConfigError(
                "episodes.cost_factors must be two numbers, 0 <= low <= high, "
                f"found {self.cost_factors!r}"
            )
        if self.positions is not None and self.positions < 1:
            raise ConfigError(f"episodes.positions must be None or >= 1, found {self.positions!r}")

    @property
    def account_features(self) -> tuple[str, ...]:
        """Names of what the critic sees of an account."""
        return ACCOUNT_FEATURES if self.positions is None else COUPLED_FEATURES


@dataclass(slots=True)
class ReplayStep:
    """One step of N episodes. ``step`` from the simulator; flags have shape (N,) bool.

    ``terminated``: the account has no equity left; ``truncated``: the episode ended otherwise, so
    its last state still has a value.
    """

    step: Step
    terminated: BoolArray
    truncated: BoolArray


class Replay:
    """N episodes inside one split of a market history, stepped in one batched call.

    Accounts come in groups of ``group_size`` that start their episodes on the same bar and stay
    together, account i in group i // group_size: what depends on the bar only, such as an actor's
    output, is then computed once per group. Groups are independent of each other.

    Raises:
        DataError: the split is too short for one episode.
        ConfigError: the accounts do not fill whole groups.
    """

    def __init__(
        self,
        history: MarketHistory,
        split: Split,
        rules: Rules,
        rewards: RewardConfig,
        episodes: EpisodeConfig,
        num_accounts: int,
        seed: int | None = None,
        group_size: int = 1,
    ) -> None:
        if group_size < 1 or num_accounts % group_size:
            raise ConfigError(
                f"group_size must divide the {num_accounts} accounts, found {group_size!r}"
            )
        self.group_size = group_size
        self.history, self.split, self.episodes = history, split, episodes
        self.simulator = Simulator(history, rules, rewards, num_accounts)
        self._first = max(split.start, history.first_decision)
        self._end = min(split.stop, len(history)) - 1  # the last bar on which a fill may happen
        self._starts, self._stops = self._episode_ranges()
        self._stop_t = np.zeros(num_accounts, dtype=np.int64)
        self._rng = np.random.default_rng(seed)
        self.restart(np.arange(num_accounts))

    @property
    def num_accounts(self) -> int:
        """Number of episodes that step together."""
        return self.simulator.num_accounts

    @property
    def t(self) -> IntArray:
        """The bar (N,) at whose close each account stands."""
        return self.simulator.t

    def reset(self, seed: int | None = None, stagger: bool = False) -> None:
        """Restart every episode; a seed makes the starts repeatable.

        ``stagger`` cuts the first episode of each group at a random bar, so that episodes of a
        fixed length do not all end on the same step.
        """
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self.restart(np.arange(self.num_accounts))
        if stagger:
            left = self._stop_t - self.simulator.t
            share = 1.0 - self._rng.random(self.num_accounts // self.group_size)
            cut = np.ceil(left * np.repeat(share, self.group_size)).astype(np.int64)
            self._stop_t = self.simulator.t + cut

    def state(self) -> dict[str, Any]:
        """Return the accounts, where their episodes end, and the state of the random draws."""
        return {
            "accounts": self.simulator.state(),
            "stop_t": self._stop_t.copy(),
            "random": self._rng.bit_generator.state,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on where ``state`` was taken, of a replay of as many accounts on the same split."""
        self.simulator.set_state(state["accounts"])
        self._stop_t = state["stop_t"].copy()
        self._rng.bit_generator.state = state["random"]

    def restart(self, accounts: IntArray) -> None:
        """Start new episodes for ``accounts`` (K,): whole groups at random bars.

        An account that ended before the rest of its group starts afresh on the group's bar, for
        what is left of the group's episode.

        Raises:
            ArrayError: ``accounts`` is not an array (K,) of integers.
        """
        require_shape(accounts, ("K",), np.integer, "accounts")
        ended = np.zeros(self.num_accounts, dtype=np.bool_)
        ended[accounts] = True
        size = self.group_size
        groups = np.flatnonzero(ended.reshape(-1, size).all(axis=1))
        choice = self._rng.integers(0, len(self._starts), len(groups))
        start_t = self.simulator.t.reshape(-1, size).copy()
        stop_t = self._stop_t.reshape(-1, size)
        start_t[groups] = self._starts[choice][:, None]
        stop_t[groups] = self._stops[choice][:, None]
        low, high = self.episodes.cost_factors
        factor = self._rng.uniform(low, high, len(accounts)) if low < high else low
        self.simulator.reset(accounts, start_t.reshape(-1)[accounts], cost_factor=factor)

    def step(self, votes: Votes) -> ReplayStep:
        """Step every episode by one bar. Restart ended episodes before the next step."""
        return self.ended(self.simulator.step(votes))

    def ended(self, step: Step) -> ReplayStep:
        """Return what the accounts did, with the episodes that ended by it."""
        terminated = self.simulator.equity <= 0.0
        truncated = (self.simulator.t >= self._stop_t) & ~terminated
        return ReplayStep(step, terminated, truncated)

    def observe(self) -> Float32Array:
        """Return the network inputs (G, 60, 7) float32 of the bars the G groups stand on."""
        return self.history.inputs.gather(self.simulator.t[:: self.group_size])

    def account_features(self) -> Float32Array:
        """Return the critic's view of the accounts (N, 4) float32."""
        return self.simulator.account_features()

    def _episode_ranges(self) -> tuple[IntArray, IntArray]:
        """Return the possible first and last bars of episodes, each (K,) int64."""
        if self.episodes.kind == "session":
            sessions = self.history.sessions
            starts, lasts = np.flatnonzero(sessions.is_first), np.flatnonzero(sessions.is_last)
            following = np.searchsorted(lasts, starts)
            starts, following = starts[following < len(lasts)], following[following < len(lasts)]
            stops = lasts[following]
            inside = (starts >= self._first) & (stops <= self._end) & (stops > starts)
            starts, stops = starts[inside], stops[inside]
        else:
            starts = np.arange(self._first, self._end - self.episodes.length + 1)
            stops = starts + self.episodes.length
        if len(starts) == 0:
            found = max(0, self._end - self._first)
            bars = f"episode of {self.episodes.length} bars"
            what = "whole session" if self.episodes.kind == "session" else bars
            raise DataError(
                f"the {self.split.name} split has no room for one {what}: found {found} usable bars"
            )
        return starts.astype(np.int64), stops.astype(np.int64)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What learning and its metrics need to know of one step of N accounts.

    ``rewards`` and ``bonus`` (N, 3), ``base`` (N,) reward parts; ``equity_change``, ``trade_pnl``
    and ``trade_cost`` (N,) dollars; ``exited``, ``terminated`` and ``truncated`` (N,) bool.
    """

    rewards: FloatArray
    base: FloatArray
    bonus: FloatArray
    equity_change: FloatArray
    trade_pnl: FloatArray
    trade_cost: FloatArray
    exited: BoolArray
    terminated: BoolArray
    truncated: BoolArray


class ReplaySet:
    """Replays of several instruments that step together, their accounts one after the other."""

    def __init__(self, replays: list[Replay]) -> None:
        self.replays = replays
        self.group_size = replays[0].group_size
        counts = [replay.num_accounts for replay in replays]
        self._edges = np.concatenate([[0], np.cumsum(counts)])
        self._offsets = np.cumsum([0, *(len(replay.history) for replay in replays)])
        self.num_accounts = int(self._edges[-1])

    @property
    def bar(self) -> IntArray:
        """The running bar number (N,) on which each account stands; see ``MarketHistories``."""
        return np.concatenate(
            [replay.t + self._offsets[k] for k, replay in enumerate(self.replays)]
        )

    def reset(self, stagger: bool = False) -> None:
        """Restart every episode; ``stagger`` as of ``Replay.reset``."""
        for replay in self.replays:
            replay.reset(stagger=stagger)

    def state(self) -> list[dict[str, Any]]:
        """Return the state of each replay."""
        return [replay.state() for replay in self.replays]

    def set_state(self, state: list[dict[str, Any]]) -> None:
        """Go on where ``state`` was taken, of a set of the same replays."""
        for replay, part in zip(self.replays, state, strict=True):
            replay.set_state(part)

    def restart(self, accounts: IntArray) -> None:
        """Start new episodes for ``accounts`` (K,), given in ascending order.

        Raises:
            ArrayError: ``accounts`` is not an array (K,) of integers.
        """
        require_shape(accounts, ("K",), np.integer, "accounts")
        for k, replay in enumerate(self.replays):
            first, stop = np.searchsorted(accounts, self._edges[k : k + 2])
            if stop > first:
                replay.restart(accounts[first:stop] - self._edges[k])

    def observe(self) -> Float32Array:
        """Return the network inputs (G, 60, 7) float32 of the bars the G groups stand on."""
        return np.concatenate([replay.observe() for replay in self.replays])

    def account_features(self) -> Float32Array:
        """Return the critic's view of the accounts (N, F) float32, see ``EpisodeConfig``."""
        return np.concatenate([replay.account_features() for replay in self.replays])

    def step(self, votes: Votes) -> Outcome:
        """Step every episode by one bar; votes are (N, 3).

        Raises:
            ArrayError: votes of another rank, shape or dtype, or out of range.
        """
        require_shape(votes.index, (self.num_accounts, NUM_AGENTS), np.integer, "votes.index")
        return self.joined(
            [replay.step(self.part_of(votes, k)) for k, replay in enumerate(self.replays)]
        )

    def part_of(self, votes: Votes, k: int) -> Votes:
        """Return those of votes (N, 3) that are of replay ``k``."""
        return votes.take(slice(self._edges[k], self._edges[k + 1]))

    def joined(self, moved: list[ReplayStep]) -> Outcome:
        """Return the steps of all replays as one."""

        def joined(name: str) -> Any:
            return np.concatenate([getattr(part.step, name) for part in moved])

        return Outcome(
            rewards=joined("rewards"),
            base=joined("base"),
            bonus=joined("bonus"),
            equity_change=joined("equity_change"),
            trade_pnl=joined("trade_pnl"),
            trade_cost=joined("trade_cost"),
            exited=joined("exited"),
            terminated=np.concatenate([part.terminated for part in moved]),
            truncated=np.concatenate([part.truncated for part in moved]),
        )
