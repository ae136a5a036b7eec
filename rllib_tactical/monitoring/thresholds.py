"""Thresholds that stable months exceed as rarely as is stated, by a block bootstrap of sessions.

A stable month is drawn from the reference itself: sessions in blocks of random length (Politis and
Romano, 1994), because days resemble their neighbors; and so is the reference that it is compared
with, because the real one is no more than a sample either. The monitor looks at every session of
the month and at all statistics of a group; the threshold of each is so high that the share of drawn
months in which any of them is ever exceeded is at most the stated one. All statistics of a group
get the same share of false alarms (the smallest tail probability over statistics is calibrated;
Westfall and Young, 1993).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from rllib_tactical.domain.preconditions import require_shape
from rllib_tactical.domain.types import FloatArray, IntArray
from rllib_tactical.errors import DataError
from rllib_tactical.monitoring.measures import Measure
from rllib_tactical.statistics.bootstrap import block_length

MONTH: Final = 21
"""Sessions of a month."""

LEAST_SESSIONS: Final = 30
"""Sessions that a reference must have."""

DRAWS: Final = 1_000
SHORTEST_BLOCK: Final = 3.0


@dataclass(frozen=True, slots=True)
class Threshold:
    """A statistic alarms in windows of ``window`` sessions when it is above ``value``."""

    statistic: str
    window: int
    value: float


def fit_thresholds(
    rows: FloatArray,
    measures: dict[str, Measure],
    windows: tuple[int, ...],
    false_alarms: float,
    seed: int = 0,
    draws: int = DRAWS,
) -> tuple[list[Threshold], float]:
    """Return the thresholds of a group of statistics, and the mean length of the blocks drawn.

    Args:
        rows: (S, C) sums of the reference's sessions.
        measures: statistics by name.
        windows: lengths of the windows in sessions.
        false_alarms: probability that a stable month has any alarm of this group, in (0, 1).
        seed: of the draws.
        draws: how many months.

    Raises:
        ArrayError: ``rows`` is not (S, C) float64.
        DataError: fewer than 30 sessions.
    """
    require_shape(rows, ("S", "C"), np.float64, "rows")
    if len(rows) < LEAST_SESSIONS:
        raise DataError(
            f"a reference of drift must have at least {LEAST_SESSIONS} sessions, found {len(rows)}"
        )
    block = session_block(rows)
    rng = np.random.default_rng(seed)
    longest = max(windows)
    names = [(name, window) for name in measures for window in windows]
    highest = np.empty((draws, len(names)))
    step = 250  # bounds the memory
    for first in range(0, draws, step):
        count = min(step, draws - first)
        totals = stable_rows(rows, len(rows), block, count, rng).sum(axis=1, keepdims=True)
        future = stable_rows(rows, longest + MONTH - 1, block, count, rng)
        # every window that ends within the month
        sliding = {w: window_sums(future, w)[:, longest - w :] for w in windows}
        for place, (name, window) in enumerate(names):
            values = measures[name](sliding[window], totals)
            known = np.where(np.isnan(values), -np.inf, values)
            highest[first : first + count, place] = known.max(axis=1)
    level = _level(highest, false_alarms)
    ordered = np.sort(highest, axis=0)[::-1]
    # statistics that were never known cannot alarm
    values = np.where(np.isfinite(ordered[level]), ordered[level], np.inf)
    return [
        Threshold(name, window, float(value))
        for (name, window), value in zip(names, values.tolist(), strict=True)
        if np.isfinite(value)
    ], block


def session_block(rows: FloatArray) -> float:
    """Return the mean block length in sessions for sums (S, C): 3 to a quarter of the sessions.

    Three quarters of the columns need no longer one by themselves (Politis and White, 2004).
    """
    shares = rows / np.maximum(rows.sum(axis=1, keepdims=True), 1e-300)
    needed = [block_length(column[:, None]) for column in shares.T if np.ptp(column) > 0.0]
    usual = float(np.quantile(needed, 0.75)) if needed else 1.0
    return float(np.clip(usual, SHORTEST_BLOCK, len(rows) / 4))


def stable_rows(
    rows: FloatArray, length: int, block: float, draws: int, rng: np.random.Generator
) -> FloatArray:
    """Return sums of sessions (draws, length, C) that a stable market might have, of rows (S, C).

    Sessions come in blocks; a block's deviation from the mean session is multiplied by a random
    normal factor of its own (block wild bootstrap; Shao, 2010, for the dependent case). Without it
    no drawn month could be more unusual than the weeks that happen to be in the reference, and
    every real month is, in one of many statistics. Sums may fall below zero.
    """
    place, number = stationary_rows(len(rows), length, block, draws, rng)
    factor = np.take_along_axis(rng.standard_normal(number.shape), number, axis=1)
    factor *= np.sqrt(len(rows) / (len(rows) - block))  # blocks hide a part of the variance
    mean = rows.mean(axis=0)
    drawn: FloatArray = mean + factor[:, :, None] * (rows[place] - mean)
    return drawn


def stationary_rows(
    count: int, length: int, block: float, draws: int, rng: np.random.Generator
) -> tuple[IntArray, IntArray]:
    """Return a stationary bootstrap of ``count`` rows in a circle: rows and blocks (draws, length).

    A row is a number below ``count``; those of a block have the number of its first place.

    Args:
        count: rows to draw from.
        length: rows of a draw.
        block: mean length of the blocks, whose lengths are geometric.
        draws: how many.
        rng: where the draws come from.
    """
    begins = rng.random((draws, length)) < 1.0 / block
    begins[:, 0] = True
    starts = rng.integers(0, count, (draws, length))
    place = np.arange(length)
    last = np.maximum.accumulate(np.where(begins, place, 0), axis=1)
    first = np.take_along_axis(starts, last, axis=1)
    return (first + place - last) % count, last


def window_sums(rows: FloatArray, window: int) -> FloatArray:
    """Return sums over each ``window`` rows, (..., S - window + 1, C), of rows (..., S, C)."""
    total = np.cumsum(rows, axis=-2)
    out = total[..., window - 1 :, :].copy()
    out[..., 1:, :] -= total[..., :-window, :]
    return out


def _level(highest: FloatArray, false_alarms: float) -> int:
    """Return how many draws may be above each threshold, so that the stated share is above any.

    Thresholds are the values at this place of each column in descending order.
    """
    low, high = 0, len(highest) - 1
    ordered = np.sort(highest, axis=0)[::-1]
    while low < high:
        level = (low + high + 1) // 2
        if (highest > ordered[level]).any(axis=1).mean() <= false_alarms:
            low = level
        else:
            high = level - 1
    return low
