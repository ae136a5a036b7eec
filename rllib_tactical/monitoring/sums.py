"""Observations as sums by session: what every statistic, its threshold and the monitor are made of.

A window of sessions is then a sum of rows, and a resampled history one more sum of the same rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from rllib_tactical.domain.preconditions import require_shape
from rllib_tactical.domain.types import AGENTS, BoolArray, FloatArray, IntArray
from rllib_tactical.errors import DataError
from rllib_tactical.monitoring.observations import INPUTS, Observations

BINS: Final = 16
"""Bins of an input at most; each holds about as many bars of the reference as any other."""

INPUT, BEHAVIOR, OUTCOME = "inputs", "behavior", "outcomes"
GROUPS: Final = (INPUT, BEHAVIOR, OUTCOME)

DECISIONS, CONFIDENCE, TRADES, VOTES = 0, 1, 2, 3
"""Columns of ``behavior``: decisions, sum of their confidence, trades, each agent's three votes."""

SCORE, SCORED, WON, RIGHT, VOTED, PNL, ABSOLUTE, ENDED, SLIPPAGE, FILLED = range(10)
"""Columns of ``outcomes``: sum of scores, trades where it is known, those of them that won; sum of
the shares of right votes, trades where it is known; sums of P&L and of its absolute value, dollars,
all trades; sum of slippage, trades where it is known."""

Edges = tuple[FloatArray, ...]


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums by session: ``session`` (S,) int64, ascending, and ``rows`` (S, C) float64."""

    session: IntArray
    rows: FloatArray

    def after(self, session: int) -> Sums:
        """Return the sessions after one."""
        kept = self.session > session
        return Sums(self.session[kept], self.rows[kept])


def bin_edges(inputs: FloatArray) -> Edges:
    """Return the inner edges of each input's bins, by quantiles of inputs (B, 8).

    Raises:
        ArrayError: ``inputs`` is not (B, 8) float64.
        DataError: there are no bars.
    """
    require_shape(inputs, ("B", len(INPUTS)), np.float64, "inputs")
    if not len(inputs):
        raise DataError("bins need bars, found none")
    shares = np.arange(1, BINS) / BINS
    edges = []
    for column in inputs.T:
        cuts = np.unique(np.quantile(column, shares))
        edges.append(cuts[cuts < column.max()])  # above the largest value there is no bin
    return tuple(edges)


def sums_of(found: Observations, edges: Edges) -> dict[str, Sums]:
    """Return the sums of each group by session; inputs are counted in the bins of ``edges``.

    A session of ``inputs`` has bars, one of ``behavior`` or ``outcomes`` has decisions.
    """
    return {
        INPUT: _input_sums(found, edges),
        BEHAVIOR: _behavior_sums(found),
        OUTCOME: _outcome_sums(found),
    }


def input_slices(edges: Edges) -> dict[str, slice]:
    """Return where in the rows of ``inputs`` the bins of each input are."""
    stops = np.cumsum([len(cuts) + 1 for cuts in edges]).tolist()
    starts = [0, *stops[:-1]]
    return {name: slice(a, b) for name, a, b in zip(INPUTS, starts, stops, strict=True)}


def _input_sums(found: Observations, edges: Edges) -> Sums:
    session, row = np.unique(found.bar_session, return_inverse=True)
    parts = []
    for column, cuts in zip(found.inputs.T, edges, strict=True):
        bins = len(cuts) + 1
        place = row * bins + np.searchsorted(cuts, column, side="left")
        counts = np.bincount(place, minlength=len(session) * bins)
        parts.append(counts.reshape(len(session), bins).astype(np.float64))
    return Sums(session, np.concatenate(parts, axis=1))


def _behavior_sums(found: Observations) -> Sums:
    session, row = np.unique(found.decision_session, return_inverse=True)
    rows = np.zeros((len(session), VOTES + 3 * len(AGENTS)))
    np.add.at(rows[:, DECISIONS], row, 1.0)
    np.add.at(rows[:, CONFIDENCE], row, found.confidence)
    for agent in range(len(AGENTS)):
        column = VOTES + 3 * agent + 1 + found.votes[:, agent]
        np.add.at(rows, (row, column), 1.0)
    place, known = _places(session, found.trade_session)
    np.add.at(rows[:, TRADES], place[known], 1.0)
    return Sums(session, rows)


def _outcome_sums(found: Observations) -> Sums:
    session = np.unique(found.decision_session)
    rows = np.zeros((len(session), FILLED + 1))
    place, known = _places(session, found.trade_session)
    place = place[known]

    def add(column: int, values: FloatArray) -> None:
        np.add.at(rows[:, column], place, values[known])

    for values, total, count in (
        (found.score, SCORE, SCORED),
        (found.right, RIGHT, VOTED),
        (found.slippage, SLIPPAGE, FILLED),
    ):
        is_known = np.isfinite(values)
        add(total, np.where(is_known, values, 0.0))
        add(count, is_known.astype(np.float64))
    add(WON, (np.isfinite(found.score) & (found.pnl > 0.0)).astype(np.float64))
    add(PNL, found.pnl)
    add(ABSOLUTE, np.abs(found.pnl))
    add(ENDED, np.ones(len(found.pnl)))
    return Sums(session, rows)


def _places(session: IntArray, of: IntArray) -> tuple[IntArray, BoolArray]:
    """Return the row of each trade's session, and whether there is one."""
    if not len(session):
        return np.zeros(len(of), dtype=np.int64), np.zeros(len(of), dtype=np.bool_)
    place = np.minimum(np.searchsorted(session, of), len(session) - 1)
    return place, session[place] == of
