"""What the learner knows that no actor does: the outcome of a trade on either side of every bar.

Only the learner holds it, and only of training bars: see ``what_if``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.market import MarketSpec
from rllib_tactical.domain.features.table import mirrored_inputs
from rllib_tactical.domain.simulation.what_if import what_if
from rllib_tactical.domain.types import BoolArray, Float32Array, FloatArray, IntArray
from rllib_tactical.errors import DataError


@dataclass(frozen=True, slots=True)
class Lesson:
    """N training bars with what trades on either side of them would bring.

    ``inputs`` (N, 60, 7) the network input; ``returns`` (N, 2 sides, 3 agents) discounted rewards
    of the trade, long and short; ``early`` (N, 2 sides, H) what of it has come after HORIZONS
    steps; ``opened`` (N, 2) bool whether its order fills; ``after`` (N, 2)
    running bar numbers at which the account is flat again, ``next`` (N,) of the following bar;
    ``bars`` (N, 2) steps to ``after``; ``kind``, ``direction`` (N,) of the synergy in force.
    """

    inputs: Float32Array
    returns: FloatArray
    early: Float32Array
    opened: BoolArray
    after: IntArray
    next: IntArray
    bars: IntArray
    kind: NDArray[np.integer]
    direction: NDArray[np.integer]

    def mirrored(self, turned: BoolArray) -> Lesson:
        """Return the lesson with the bars ``turned`` (N,) as they would be if up was down."""
        inputs = self.inputs.copy()
        inputs[turned] = mirrored_inputs(inputs[turned])
        two = turned[:, None]
        return Lesson(
            inputs=inputs,
            returns=np.where(two[..., None], self.returns[:, ::-1], self.returns),
            early=np.where(two[..., None], self.early[:, ::-1], self.early),
            opened=np.where(two, self.opened[:, ::-1], self.opened),
            after=np.where(two, self.after[:, ::-1], self.after),
            next=self.next,
            bars=np.where(two, self.bars[:, ::-1], self.bars),
            kind=self.kind,
            direction=np.where(turned, -self.direction, self.direction),
        )


class Teacher:
    """The what-if tables of all instruments' training bars.

    Args:
        market: its parts are of the training bars.
        gamma: discount of rewards per bar.

    Raises:
        DataError: no bar has an outcome that is known before the training bars end.
    """

    def __init__(self, market: MarketSpec, gamma: float) -> None:
        self._histories = market.histories
        tables = [
            what_if(
                part.history,
                part.split,
                market.rules,
                market.rewards,
                gamma,
                market.train_confidence,
            )
            for part in market.parts
        ]
        offsets = self._histories.offsets
        bar = [np.arange(each.start, each.stop) + offsets[k] for k, each in enumerate(tables)]
        opened = np.concatenate([each.opened for each in tables])
        # where nothing can be opened there is nothing to learn
        taught = opened.any(axis=1)
        self._bar: IntArray = np.concatenate(bar)[taught]
        self._opened: BoolArray = opened[taught]
        self._returns = np.concatenate([each.returns for each in tables])[taught].astype(np.float32)
        self._bars = np.concatenate([each.bars for each in tables])[taught].astype(np.int32)
        early = np.concatenate([each.early for each in tables])[taught]
        self._early: Float32Array = early.astype(np.float32)
        if not len(self._bar):
            raise DataError(
                "credit: counterfactual needs training bars with a trade that ends before them, "
                "found none"
            )

    def __len__(self) -> int:
        """Return the number of bars with an outcome."""
        return len(self._bar)

    def lesson(self, rows: IntArray) -> Lesson:
        """Return the bars ``rows`` (N,) of the table, 0 <= row < len(self)."""
        bar, bars = self._bar[rows], self._bars[rows].astype(np.int64)
        kind, direction, _ = self._histories.decision_context(bar, 0)
        return Lesson(
            inputs=self._histories.gather(bar),
            returns=self._returns[rows].astype(np.float64),
            early=self._early[rows],
            opened=self._opened[rows],
            after=bar[:, None] + bars,
            next=bar + 1,
            bars=bars,
            kind=kind,
            direction=direction,
        )
