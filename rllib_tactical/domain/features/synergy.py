"""Synergy context: three signals that agree on a direction within a few bars.

In live use synergies arrive as events; replay reads events from a file or detects them on the bars
with ``detect_synergies``. Signals in one direction within 10 bars: a gap birth, a 5-bar momentum
beyond its rolling 80th percentile, a volume ratio above 1.5 (volume has no direction and counts for
both). Which signal came first gives the type: gap TYPE_1, gap and momentum on the same bar TYPE_2,
momentum TYPE_3, volume TYPE_4. A synergy stays in force for 3 bars.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from rllib_tactical.domain.features.table import FeatureTable
from rllib_tactical.domain.preconditions import require_shape
from rllib_tactical.domain.types import (
    NUM_FEATURES,
    SYNERGY_TYPES,
    UNKNOWN_SYNERGY,
    BoolArray,
    FloatArray,
    IntArray,
)
from rllib_tactical.errors import FeatureError

LOOKBACK: Final = 10
IN_FORCE: Final = 3
MOMENTUM_WINDOW: Final = 100
MOMENTUM_QUANTILE: Final = 0.8
VOLUME_THRESHOLD: Final = 1.5

MEMORY_BARS: Final = MOMENTUM_WINDOW + LOOKBACK + IN_FORCE - 1
"""Bars that decide which synergy is in force at the newest of them.

It fired on one of the last 3 bars because the signals of the 10 bars before were not yet complete,
and the first of these compares its momentum with the 99 bars before.
"""


class Synergy(NamedTuple):
    """The synergy in force at one bar's close; see ``SynergyTrack``."""

    kind: int
    direction: int
    confidence: float


NO_SYNERGY: Final = Synergy(0, 0, 0.0)


def synergy_kind(synergy_type: str) -> int:
    """Return the kind of a synergy that an event reports, ``UNKNOWN_SYNERGY`` for other types."""
    known = synergy_type in SYNERGY_TYPES[1:]
    return SYNERGY_TYPES.index(synergy_type) if known else UNKNOWN_SYNERGY


@dataclass(frozen=True, slots=True)
class SynergyTrack:
    """The synergy in force at the close of each bar. Arrays have shape (T,).

    ``kind`` int8: 0 none, 1..4 for TYPE_1..TYPE_4, 5 for another type; ``direction`` int8: +1, -1,
    0 when none; ``confidence`` float64 in [0, 1], 0 when none.
    """

    kind: NDArray[np.int8]
    direction: NDArray[np.int8]
    confidence: FloatArray

    @classmethod
    def none(cls, length: int) -> SynergyTrack:
        """Return a track without any synergy."""
        empty = np.zeros(length, dtype=np.int8)
        return cls(empty, empty, np.zeros(length))


def detect_synergies(table: FeatureTable) -> SynergyTrack:
    """Return the rule-based synergies of a history; row t depends on bars <= t only.

    A synergy fires on the bar that completes the three signals; further signals while all three
    stay in the window do not prolong it. Its confidence is 1 minus the share of the 10-bar window
    that the signals took. When both directions fire on one bar, none counts.

    Raises:
        FeatureError: the table's features or births have another rank, shape or dtype.
    """
    length = len(table)
    require_shape(table.raw, (length, NUM_FEATURES), np.float64, "table.raw", FeatureError)
    require_shape(table.birth, (length,), np.int8, "table.birth", FeatureError)
    if length == 0:
        return SynergyTrack.none(0)
    return _detect(table.birth, table.raw[:, 5], table.raw[:, 6])


Signals = tuple[tuple[int, float, float], ...]
"""Gap birth, momentum and volume ratio of a ``SynergyStream``'s newest bars, oldest first."""


class SynergyStream:
    """The synergies of bars that arrive one at a time: at each bar those of the whole history."""

    def __init__(self) -> None:
        self._signals: deque[tuple[int, float, float]] = deque(maxlen=MEMORY_BARS)

    def state(self) -> Signals:
        """Return what ``resumed`` needs to go on from here."""
        return tuple(self._signals)

    @classmethod
    def resumed(cls, state: Signals) -> SynergyStream:
        """Return a stream that goes on from ``state``."""
        stream = cls()
        stream._signals.extend(state)
        return stream

    def push(self, row: tuple[float, ...], birth: int) -> None:
        """Take the seven raw features of one closed bar and the sign of the gap born on it."""
        self._signals.append((birth, row[5], row[6]))

    def current(self) -> Synergy:
        """Return the synergy in force at the close of the last bar."""
        if not self._may_be_in_force():
            return NO_SYNERGY
        birth, momentum, ratio = np.array(self._signals).T
        track = _detect(birth.astype(np.int8), momentum, ratio)
        return Synergy(int(track.kind[-1]), int(track.direction[-1]), float(track.confidence[-1]))

    def _may_be_in_force(self) -> bool:
        """Return whether the bars that a synergy in force was made of have a gap and volume.

        Most bars have not: then nothing has to be detected.
        """
        newest = list(islice(reversed(self._signals), LOOKBACK + IN_FORCE - 1))
        has_volume = any(ratio > VOLUME_THRESHOLD for _, _, ratio in newest)
        return has_volume and any(birth for birth, _, _ in newest)


def _detect(birth: NDArray[np.int8], momentum: FloatArray, ratio: FloatArray) -> SynergyTrack:
    """Return the synergies of T > 0 bars by their gap births, momentum and volume ratio (T,)."""
    length = len(birth)
    size = np.abs(momentum)
    strong = np.where(size > _rolling_quantile(size), np.sign(momentum), 0.0)
    signals = np.empty((3, 2, length), dtype=np.bool_)
    signals[0] = birth == _SIDES
    signals[1] = strong == _SIDES
    signals[2] = ratio > VOLUME_THRESHOLD
    fired_kind, fired_confidence = _fire(signals)
    up, down = fired_kind > 0
    one = up ^ down
    t = np.arange(length)
    last = np.maximum.accumulate(np.where(one, t, -IN_FORCE))
    live = t - last < IN_FORCE
    source = np.maximum(last, 0)
    return SynergyTrack(
        np.where(live, fired_kind.max(axis=0)[source], 0).astype(np.int8),
        np.where(live, np.where(up, 1, -1)[source], 0).astype(np.int8),
        np.where(live, fired_confidence.max(axis=0)[source], 0.0),
    )


_SIDES: Final = np.array([[1], [-1]], dtype=np.int8)


def _fire(signals: BoolArray) -> tuple[NDArray[np.int8], FloatArray]:
    """Return type (2, T) and confidence (2, T) of both directions; 0 where nothing completes.

    ``signals`` (3, 2, T): gap, momentum and volume of both directions.
    """
    t = np.arange(signals.shape[-1])
    first = _first_in_window(signals, t)
    gap, momentum, _ = first
    complete: BoolArray = np.logical_and.reduce(first >= 0, axis=0)
    start = first.min(axis=0)
    of_gap, of_momentum = gap == start, momentum == start
    kind = np.where(of_gap, np.where(of_momentum, 2, 1), np.where(of_momentum, 3, 4))
    before = np.concatenate([np.zeros((2, 1), dtype=np.bool_), complete[:, :-1]], axis=1)
    fires = complete & ~before
    confidence = 1.0 - (t - start) / LOOKBACK
    return np.where(fires, kind, 0).astype(np.int8), np.where(fires, confidence, 0.0)


def _first_in_window(signal: BoolArray, t: IntArray) -> IntArray:
    """Return the index of the first firing in [t-9, t] (..., T), or -1 when there is none."""
    here = np.where(signal, t, len(t))
    following = np.minimum.accumulate(here[..., ::-1], axis=-1)[..., ::-1]
    first = following[..., np.maximum(t - (LOOKBACK - 1), 0)]
    return np.where(first <= t, first, -1)


def _rolling_quantile(value: FloatArray) -> FloatArray:
    """Return the 80th percentile of the last 100 values up to and with t; inf before 100 bars."""
    out = np.full(len(value), np.inf)
    rank = int(np.ceil(MOMENTUM_QUANTILE * MOMENTUM_WINDOW)) - 1
    if len(value) >= MOMENTUM_WINDOW:
        windows = sliding_window_view(value, MOMENTUM_WINDOW)
        for start in range(0, len(windows), 10_000):  # bounds the partition's copy
            part = np.partition(windows[start : start + 10_000], rank, axis=1)[:, rank]
            out[MOMENTUM_WINDOW - 1 + start :][: len(part)] = part
    return out
