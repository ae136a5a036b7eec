"""What every training bar would have paid: the exact outcome of a trade on either side.

Prices do not depend on the account, so what an order leads to can be simulated for every bar and
not only for those on which an account happened to order. The outcomes are later than the bar: they
are what a teacher knows. Only the loss of a learner may use them, and only those of training bars.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from rllib_tactical.domain.decision.actions import EXECUTE, WAIT
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.votes import constant_votes
from rllib_tactical.domain.simulation.history import MarketHistory, Split
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.simulation.simulator import Simulator
from rllib_tactical.domain.types import (
    HOLD,
    LONG,
    NUM_AGENTS,
    SHORT,
    BoolArray,
    FloatArray,
    IntArray,
)

TRADED_SIDES: Final = (LONG, SHORT)
"""Of a table's columns."""

HORIZONS: Final = (4, 8, 16)
"""Bars after which a table also says what a trade has brought so far."""

ACCOUNTS: Final = 4_096
"""Trades that are simulated at a time: bounds memory, changes no value."""


@dataclass(frozen=True, slots=True)
class WhatIf:
    """Outcomes of trades decided at the closes of bars ``start`` <= t < ``stop``, B bars.

    Columns are TRADED_SIDES. Every trade is opened by three agents that agree and an entry agent
    that executes, in an account that was flat, and is held until its stop, its target or the
    session ends it.

    ``opened`` (B, 2) bool: the order was filled; elsewhere all outcomes are 0. ``pnl`` (B, 2) net
    dollars. ``returns`` (B, 2, 3) rewards of the three agents, discounted to the decision.
    ``bars`` (B, 2) int64: steps until the account is flat again. ``early`` (B, 2, H): the part of
    ``returns``, mean of the agents, that came with the first HORIZONS steps.
    """

    start: int
    stop: int
    opened: BoolArray
    pnl: FloatArray
    returns: FloatArray
    bars: IntArray
    early: FloatArray

    def __len__(self) -> int:
        return self.stop - self.start


def what_if(
    history: MarketHistory,
    split: Split,
    rules: Rules,
    rewards: RewardConfig,
    gamma: float,
    confidence: float,
) -> WhatIf:
    """Simulate a trade on both sides of every bar of a split.

    Only the bars before ``split.stop`` are looked at. The table ends before the first bar with a
    trade that is still open then: leaving out only such trades would favor short ones.

    Args:
        history: the market.
        split: of the training bars.
        rules: of decisions.
        rewards: what the simulator pays for each step.
        gamma: discount of rewards per bar.
        confidence: with which each vote counts.
    """
    seen = history.until(min(split.stop, len(history)))
    start = max(split.start, history.first_decision)
    run = _Trades(seen, start, rules, rewards, gamma, confidence)
    while run.advance():
        pass
    stop = int(run.unresolved)
    count = max(0, stop - start)
    return WhatIf(
        start=start,
        stop=start + count,
        opened=run.opened[:count],
        pnl=run.pnl[:count],
        returns=run.returns[:count],
        bars=run.bars[:count],
        early=run.early[:count],
    )


class _Trades:
    """Trades in progress: an account takes the next bar and side when its trade is over."""

    def __init__(
        self,
        history: MarketHistory,
        start: int,
        rules: Rules,
        rewards: RewardConfig,
        gamma: float,
        confidence: float,
    ) -> None:
        self._last = len(history) - 1
        self._start, self._gamma, self._confidence = start, gamma, confidence
        count = max(0, self._last - start)
        self._total, self._next = count * len(TRADED_SIDES), 0
        accounts = max(1, min(ACCOUNTS, self._total))
        self._simulator = Simulator(history, rules, rewards, accounts)
        self._task = np.full(accounts, -1, dtype=np.int64)
        self._steps = np.zeros(accounts, dtype=np.int64)
        self._sums = np.zeros((accounts, NUM_AGENTS))
        self._equity = np.zeros(accounts)
        self.unresolved = start + count
        shape = (count, len(TRADED_SIDES))
        self.opened = np.zeros(shape, dtype=np.bool_)
        self.pnl, self.returns = np.zeros(shape), np.zeros((*shape, NUM_AGENTS))
        self.bars = np.zeros(shape, dtype=np.int64)
        self.early = np.zeros((*shape, len(HORIZONS)))
        self._assign(np.arange(accounts))

    def advance(self) -> bool:
        """Step every account by one bar and take down what has ended; False when all has."""
        live = np.flatnonzero(self._task >= 0)
        if not len(live):
            return False
        simulator = self._simulator
        step = simulator.step(constant_votes(self._votes(), self._confidence))
        self._sums[live] += self._gamma ** self._steps[live, None] * step.rewards[live]
        early = self.early.reshape(-1, len(HORIZONS))
        for k, horizon in enumerate(HORIZONS):
            within = live[self._steps[live] < horizon]
            early[self._task[within], k] = self._sums[within].mean(axis=1)
        first = live[self._steps[live] == 0]
        self.opened.reshape(-1)[self._task[first]] = step.entered[first]
        self._steps += 1
        flat = simulator.side[live] == 0
        over = live[flat]
        task = self._task[over]
        opened = self.opened.reshape(-1)[task]
        self.pnl.reshape(-1)[task] = simulator.equity[over] - self._equity[over]
        self.returns.reshape(-1, NUM_AGENTS)[task] = np.where(opened[:, None], self._sums[over], 0)
        self.bars.reshape(-1)[task] = np.where(opened, self._steps[over], 0)
        early[task[~opened]] = 0.0
        stuck = live[~flat & (simulator.t[live] == self._last)]
        if len(stuck):
            bar = self._start + self._task[stuck].min() // len(TRADED_SIDES)
            self.unresolved = min(self.unresolved, int(bar))
        self._assign(np.concatenate([over, stuck]))
        return True

    def _votes(self) -> IntArray:
        """Return the votes (N, 3): the trade's side with the first step, nothing after it."""
        side = np.take(TRADED_SIDES, self._task % len(TRADED_SIDES))
        side = np.where((self._task >= 0) & (self._steps == 0), side, HOLD)
        entry = np.where(side == HOLD, WAIT, EXECUTE)
        return np.stack([1 - side, 1 - side, entry], axis=1)

    def _assign(self, accounts: IntArray) -> None:
        """Give accounts the next bars and sides; those for which none is left stand still."""
        fresh = self._next + np.arange(len(accounts))
        self._next += len(accounts)
        task = np.where(fresh < self._total, fresh, -1)
        self._task[accounts], self._steps[accounts] = task, 0
        self._sums[accounts] = 0.0
        idle = np.flatnonzero(self._task < 0)
        bar = np.where(task >= 0, self._start + task // len(TRADED_SIDES), self._start)
        self._simulator.reset(accounts, bar)
        self._simulator.reset(idle, np.full(len(idle), self._start))
        self._equity[accounts] = self._simulator.equity[accounts]
