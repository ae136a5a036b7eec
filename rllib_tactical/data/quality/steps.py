"""How far bars are apart: what that says of their length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from rllib_tactical.data.calendar.bar_length import bar_label
from rllib_tactical.data.io.parse import MICROS
from rllib_tactical.domain.types import IntArray

WINDOW: Final = 48
"""Neighbors that are looked at together: four hours of 5-minute bars."""
_LEAST: Final = 6
_BLOCK: Final = 4096
# Hourly bars of a session of six and a half hours: six of seven neighbors are an hour apart.
_REGULAR: Final = 0.7


@dataclass(frozen=True, slots=True)
class WrongLength:
    """Bars of another length: ``step_s`` apart, from row ``row`` on, in ``share`` of the file."""

    step_s: float
    row: int
    share: float

    @property
    def text(self) -> str:
        """The length as people write it."""
        whole = self.step_s == int(self.step_s)
        return bar_label(int(self.step_s)) if whole else f"{self.step_s:g}s"


def common_step_s(micros: IntArray) -> int | None:
    """Return the shortest distance that at least 1% of neighbors have, in seconds.

    ``micros`` are times in microseconds in file order; None if they show no distance. In a thin
    market most neighbors are further apart than one bar; a stray time makes few.
    """
    steps = np.diff(micros // MICROS)
    steps.sort()  # in place, as the other way to count them takes several times the memory
    steps = steps[np.searchsorted(steps, 0, side="right") :]
    if steps.size == 0:
        return None
    first = np.flatnonzero(np.diff(steps, prepend=0))
    counts = np.diff(first, append=steps.size)
    return int(steps[first[counts >= 0.01 * steps.size][0]])


def wrong_length(micros: IntArray, bar_seconds: int, up_to_s: int = 0) -> WrongLength | None:
    """Return the other length that bars regularly have, None where they are ``bar_seconds`` long.

    A stretch of bars is of another length when at least 70% of its neighbors are that far apart.
    In a thin market distances vary, and nothing is wrong with them.

    Args:
        micros: times in microseconds in file order.
        bar_seconds: the length that bars should have.
        up_to_s: distances above ``bar_seconds`` and up to this are no other length either.
    """
    steps = np.diff(micros)
    if steps.size < _LEAST:
        return None
    size = min(WINDOW, steps.size)
    # Overlapping, so that no stretch of 60 bars falls between two of them.
    windows = np.lib.stride_tricks.sliding_window_view(steps, size)[:: size // 2]
    typical = np.empty(len(windows), dtype=np.int64)
    regular = np.empty(len(windows), dtype=np.bool_)
    for begin in range(0, len(windows), _BLOCK):
        block = windows[begin : begin + _BLOCK]
        middle = np.partition(block, size // 2, axis=1)[:, size // 2]
        typical[begin : begin + _BLOCK] = middle
        regular[begin : begin + _BLOCK] = (block == middle[:, None]).mean(axis=1) >= _REGULAR
    other = regular & (typical != bar_seconds * MICROS) & (typical > 0)
    other &= (typical < bar_seconds * MICROS) | (typical > up_to_s * MICROS)
    if not other.any():
        return None
    values, counts = np.unique(typical[other], return_counts=True)
    step = values[np.argmax(counts)]
    first = int(np.flatnonzero(other & (typical == step))[0])
    return WrongLength(float(step / MICROS), first * (size // 2), float(other.mean()))
