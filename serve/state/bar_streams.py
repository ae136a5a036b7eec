"""What is carried from bar to bar: features, synergies, sessions and gaps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from rllib_tactical.data.calendar.sessions import follow_sessions
from rllib_tactical.domain.decision.missing_bars import NO_GAP, bars_since_gap
from rllib_tactical.domain.features.synergy import Signals, SynergyStream
from rllib_tactical.domain.features.table import FeatureStream, FeatureStreamState
from rllib_tactical.domain.types import BoolArray, Instrument, IntArray


class BarRow(NamedTuple):
    """One accepted bar, as the store keeps it; ``time_s`` is its open in UTC epoch seconds."""

    time_s: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class ClosedBar(msgspec.Struct, tag="bar", frozen=True):
    """What the account needs to know of a bar; ``new_session``: it is the first of its session."""

    time_s: int
    close: float
    new_session: bool


class StreamsState(msgspec.Struct, frozen=True):
    """What ``BarStreams`` hold after one bar."""

    features: FeatureStreamState
    signals: Signals
    last_s: int | None
    tradable: bool
    since_gap: int


_Place = tuple[BoolArray, BoolArray, IntArray]


class BarStreams:
    """Takes bars in order of time; ``last_s`` is the open time of the newest one."""

    def __init__(self, instrument: Instrument, bar_seconds: int) -> None:
        self._instrument, self._bar_seconds = instrument, bar_seconds
        self.features, self.synergies = FeatureStream(), SynergyStream()
        self.last_s: int | None = None
        self.tradable = True
        self.since_gap = NO_GAP
        self._placed: tuple[tuple[int | None, list[int]], _Place] | None = None

    def state(self) -> StreamsState:
        """Return what ``resume`` needs to go on from here."""
        return StreamsState(
            self.features.state(),
            self.synergies.state(),
            self.last_s,
            self.tradable,
            self.since_gap,
        )

    def resume(self, state: StreamsState) -> None:
        """Go on from ``state``, bit for bit."""
        self.features = FeatureStream.resumed(state.features)
        self.synergies = SynergyStream.resumed(state.signals)
        self.last_s, self.tradable = state.last_s, state.tradable
        self.since_gap = state.since_gap

    def place(self, rows: Sequence[BarRow]) -> _Place:
        """Return what ``follow_sessions`` says of rows that come next, at least one.

        Raises:
            ConfigError: unknown calendar or time zone.
            DataError: the calendar does not cover the times.
        """
        asked = self.last_s, [row.time_s for row in rows]
        if self._placed is None or self._placed[0] != asked:  # a check asks, and then the push
            times: IntArray = np.array(asked[1], dtype=np.int64)
            found = follow_sessions(self.last_s, times, self._instrument, self._bar_seconds)
            self._placed = asked, found
        return self._placed[1]

    def push(self, rows: Sequence[BarRow]) -> list[ClosedBar]:
        """Take the rows that come next, at least one."""
        first, tradable, missing = self.place(rows)
        self.since_gap = int(bars_since_gap(missing, self.since_gap)[-1])
        for row in rows:
            self.synergies.push(self.features.push(*row[1:]), self.features.birth)
        self.last_s, self.tradable = rows[-1].time_s, bool(tradable[-1])
        return [
            ClosedBar(row.time_s, row.close, new_session)
            for row, new_session in zip(rows, first.tolist(), strict=True)
        ]
