"""A market history: bars with everything that is known at each bar's close, computed once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Final, TypeVar

import numpy as np

from rllib_tactical.domain.decision.missing_bars import holds_after_gap
from rllib_tactical.domain.features.synergy import SynergyTrack, detect_synergies
from rllib_tactical.domain.features.table import (
    WARMUP_BARS,
    FeatureTable,
    InputViews,
    compute_features,
)
from rllib_tactical.domain.preconditions import require_fields, require_shape
from rllib_tactical.domain.types import (
    NUM_FEATURES,
    WINDOW,
    Bars,
    BoolArray,
    Float32Array,
    Instrument,
    IntArray,
    Sessions,
)
from rllib_tactical.errors import DataError

EMBARGO_BARS = WINDOW + WARMUP_BARS
"""Bars left out between two splits, and before the first decision of a history."""


MARKET_FEATURES: Final = (
    "session_sin",
    "session_cos",
    "synergy_type_1",
    "synergy_type_2",
    "synergy_type_3",
    "synergy_type_4",
    "synergy_direction",
    "synergy_confidence",
    "atr_to_close",
)
"""What the critic sees of the market besides the matrix."""


_FEATURE_DTYPES: Final[dict[str, type[np.generic]]] = {"atr": np.float64, "close": np.float64}
_SESSION_DTYPES: Final[dict[str, type[np.generic]]] = {
    "session_id": np.int64,
    "is_first": np.bool_,
    "is_last": np.bool_,
    "elapsed": np.float64,
    "is_open": np.bool_,
    "tradable": np.bool_,
    "since_gap": np.int64,
}
_SYNERGY_DTYPES: Final[dict[str, type[np.generic]]] = {
    "kind": np.int8,
    "direction": np.int8,
    "confidence": np.float64,
}

Columns = TypeVar("Columns", FeatureTable, Sessions, SynergyTrack)


@dataclass(frozen=True, slots=True)
class MarketHistory:
    """One instrument's history, ready for replay. All per-bar arrays have length T.

    Raises:
        ArrayError: features, sessions or synergies have another rank, shape or dtype.
    """

    bars: Bars
    features: FeatureTable
    inputs: InputViews
    sessions: Sessions
    synergy: SynergyTrack
    instrument: Instrument

    def __post_init__(self) -> None:
        shape = (len(self.bars),)
        require_shape(self.features.raw, (*shape, NUM_FEATURES), np.float64, "features.raw")
        require_fields(self.features, shape, _FEATURE_DTYPES, "features")
        require_fields(self.sessions, shape, _SESSION_DTYPES, "sessions")
        require_fields(self.synergy, shape, _SYNERGY_DTYPES, "synergy")

    def __len__(self) -> int:
        return len(self.bars)

    @property
    def first_decision(self) -> int:
        """The first bar with a full window of features past their warm-up."""
        return EMBARGO_BARS - 1

    def until(self, stop: int) -> MarketHistory:
        """Return the history of the bars before ``stop``, as it was known then."""
        features = _cut(self.features, stop)
        sessions, synergy = _cut(self.sessions, stop), _cut(self.synergy, stop)
        inputs = InputViews(features)
        return MarketHistory(self.bars[:stop], features, inputs, sessions, synergy, self.instrument)

    def market_features(self, t: IntArray) -> Float32Array:
        """Return the critic's view of the market (N, 9) float32, ordered as MARKET_FEATURES.

        Raises:
            ArrayError: ``t`` is not an array (N,) of integers.
        """
        require_shape(t, ("N",), np.integer, "t")
        angle = 2.0 * np.pi * self.sessions.elapsed[t]
        out = np.empty((len(t), len(MARKET_FEATURES)), dtype=np.float32)
        out[:, 0] = np.sin(angle)
        out[:, 1] = np.cos(angle)
        out[:, 2:6] = self.synergy.kind[t][:, None] == np.arange(1, 5)
        out[:, 6] = self.synergy.direction[t]
        out[:, 7] = self.synergy.confidence[t]
        out[:, 8] = self.features.atr[t] / self.bars.close[t]
        return out


def _cut(columns: Columns, stop: int) -> Columns:
    """Return the first ``stop`` rows of a dataclass of arrays."""
    return type(columns)(*(getattr(columns, field.name)[:stop] for field in fields(columns)))


def build_history(
    bars: Bars, sessions: Sessions, instrument: Instrument, synergy: SynergyTrack | None = None
) -> MarketHistory:
    """Compute features, network inputs and synergies of a history.

    Args:
        bars: T bars; T must be at least 361 to allow one decision and one fill.
        sessions: session arrays of the same bars.
        instrument: what the bars are of.
        synergy: synergies read from events; detected on the bars when None.

    Raises:
        DataError: too few bars.
        ArrayError: sessions or synergies have another rank, shape or dtype.
    """
    if len(bars) <= EMBARGO_BARS:
        raise DataError(
            f"at least {EMBARGO_BARS + 1} bars are needed ({WARMUP_BARS} warm-up + {WINDOW} window "
            f"+ one fill), found {len(bars)}"
        )
    features = compute_features(bars)
    if synergy is None:
        synergy = detect_synergies(features)
    return MarketHistory(bars, features, InputViews(features), sessions, synergy, instrument)


class MarketHistories:
    """Several histories under one running bar number: bar t of history k is ``offsets[k] + t``."""

    def __init__(self, histories: tuple[MarketHistory, ...]) -> None:
        self.histories = histories
        lengths = np.array([len(history) for history in histories], dtype=np.int64)
        self.offsets: IntArray = np.concatenate([[0], np.cumsum(lengths)])

    def gather(self, bar: IntArray) -> Float32Array:
        """Return network inputs (N, 60, 7) float32 of running bar numbers (N,)."""
        out = np.empty((len(bar), WINDOW, NUM_FEATURES), dtype=np.float32)
        for history, rows, t in self._parts(bar):
            out[rows] = history.inputs.gather(t)
        return out

    def market_features(self, bar: IntArray) -> Float32Array:
        """Return the critic's view of the market (N, 9) float32 at running bar numbers (N,)."""
        out = np.empty((len(bar), len(MARKET_FEATURES)), dtype=np.float32)
        for history, rows, t in self._parts(bar):
            out[rows] = history.market_features(t)
        return out

    def decision_context(
        self, bar: IntArray, hold_bars_after_gap: int
    ) -> tuple[IntArray, IntArray, BoolArray]:
        """Return what decisions see besides votes and accounts, at running bar numbers (N,).

        The synergy's kind (0 for none) and direction, int64, and whether every order is refused:
        the market is closed at the bar's end, or bars are missing shortly before it.
        """
        kind, direction = np.zeros((2, len(bar)), dtype=np.int64)
        refused = np.zeros(len(bar), dtype=np.bool_)
        for history, rows, t in self._parts(bar):
            kind[rows], direction[rows] = history.synergy.kind[t], history.synergy.direction[t]
            after_gap = holds_after_gap(history.sessions.since_gap[t], hold_bars_after_gap)
            refused[rows] = after_gap | ~history.sessions.tradable[t]
        return kind, direction, refused

    def _parts(self, bar: IntArray) -> Iterator[tuple[MarketHistory, IntArray, IntArray]]:
        """Yield each history that ``bar`` refers to, the rows that do, and their bars in it."""
        require_shape(bar, ("N",), np.integer, "bar")
        owner = np.searchsorted(self.offsets, bar, side="right") - 1
        for k, history in enumerate(self.histories):
            rows = np.flatnonzero(owner == k)
            if len(rows):
                yield history, rows, bar[rows] - self.offsets[k]


@dataclass(frozen=True, slots=True)
class Split:
    """A named range of decision bars: ``start`` <= t < ``stop``."""

    name: str
    start: int
    stop: int


def split_history(length: int, fractions: tuple[float, float, float]) -> tuple[Split, Split, Split]:
    """Return train, validation and test ranges with an embargo of 360 bars between them.

    Args:
        length: number of bars of the history.
        fractions: shares of the history, which sum to 1; a share of 0 gives an empty range.

    Raises:
        DataError: a split with a positive share has no bar left after the embargo.
    """
    edges = np.round(np.cumsum((0.0, *fractions)) * length).astype(int)
    splits = []
    for name, share, start, stop in zip(
        ("train", "validation", "test"), fractions, edges[:-1], edges[1:], strict=True
    ):
        # no split comes before one at bar 0: it starts at the history's first decision
        embargo = EMBARGO_BARS if start > 0 else EMBARGO_BARS - 1
        first = int(min(start + embargo, stop))
        if share > 0 and first + 2 > stop:  # one bar to decide on and one to fill on
            raise DataError(
                f"the {name} split needs more than {EMBARGO_BARS} bars (warm-up, window and "
                f"embargo), found {int(stop - start)} of {length}"
            )
        splits.append(Split(name, first, int(stop)))
    return splits[0], splits[1], splits[2]
