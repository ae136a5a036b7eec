"""The buffer of closed bars: which bars are accepted, and the matrix that is made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from rllib_tactical.data.calendar.sessions import follow_sessions, next_bar_s
from rllib_tactical.domain.decision.missing_bars import NO_GAP, bars_since_gap
from rllib_tactical.domain.features.synergy import NO_SYNERGY, Signals, Synergy, SynergyStream
from rllib_tactical.domain.features.table import FeatureStream, FeatureStreamState
from rllib_tactical.domain.simulation.history import EMBARGO_BARS
from rllib_tactical.domain.types import WINDOW, Instrument, IntArray
from rllib_tactical.errors import TacticalError
from serve.api.errors import RequestError, exact, invalid
from serve.api.responses import Gap
from serve.api.write_requests import BarInput, epoch_seconds

KEPT_BARS: Final = 20_000
"""Bars kept to tell a repeated bar from a conflicting one: ten weeks of 5-minute bars, 24/7."""

FUTURE_SLACK_S: Final = 5.0
"""How far the clocks of the service and of the exchange may differ, seconds."""


class BarRow(NamedTuple):
    """One accepted bar, as the journal stores it; ``time_s`` is its open in UTC epoch seconds."""

    time_s: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class BufferState(msgspec.Struct, frozen=True):
    """What a decision by symbol sees of the market at the close of the last bar.

    Attributes:
        matrix: (60, 7) float64 as bytes, empty until there are 60 bars.
        price: close of the last bar.
        atr: its ATR, in price units.
        last_s: its open time, UTC epoch seconds.
        arrived_s: epoch time at which it arrived.
        bars: number of bars accepted so far.
        tradable: whether the market is open at its end.
        bars_since_gap: bars since the newest gap; None when no bar is missing in the window.
        due_s: epoch time at which the next scheduled bar closes.
        synergy: the one in force at its close, detected on the bars.
    """

    matrix: bytes
    price: float
    atr: float
    last_s: int
    arrived_s: float
    bars: int
    tradable: bool
    bars_since_gap: int | None
    due_s: float
    synergy: Synergy = NO_SYNERGY

    @property
    def ready(self) -> bool:
        """Whether there are enough bars: a full window past the features' warm-up."""
        return self.bars >= EMBARGO_BARS


@dataclass(frozen=True, slots=True)
class BarPlan:
    """A request's new bars, how many it repeats, and the gaps before the new ones."""

    new: tuple[BarRow, ...]
    repeated: int
    gaps: tuple[Gap, ...]


@dataclass(frozen=True, slots=True)
class ClosedBar:
    """What the account needs to know of a bar; ``new_session``: it is the first of its session."""

    time_s: int
    close: float
    new_session: bool


class BufferImage(msgspec.Struct, frozen=True):
    """Everything that a ``BarBuffer`` holds, for snapshots; ``rows`` are the kept bars."""

    stream: FeatureStreamState
    signals: Signals
    rows: list[BarRow]
    last: int | None
    arrived_s: float
    tradable: bool
    since_gap: int


class BarBuffer:
    """The bars of one instrument, each accepted once."""

    def __init__(self, instrument: Instrument, bar_seconds: int) -> None:
        self._instrument, self._bar_seconds = instrument, bar_seconds
        self._stream, self._synergies = FeatureStream(), SynergyStream()
        self._rows: dict[int, BarRow] = {}
        self._last: int | None = None
        self._arrived_s = 0.0
        self._tradable = True
        self._since_gap = NO_GAP

    @property
    def count(self) -> int:
        """Number of bars accepted so far."""
        return self._stream.count

    @property
    def last_s(self) -> int | None:
        """Open time of the newest bar, None before the first."""
        return self._last

    def image(self) -> BufferImage:
        """Return what ``resume`` needs to go on from here."""
        return BufferImage(
            self._stream.state(),
            self._synergies.state(),
            list(self._rows.values()),
            self._last,
            self._arrived_s,
            self._tradable,
            self._since_gap,
        )

    def resume(self, image: BufferImage) -> None:
        """Go on from where ``image`` was made."""
        self._stream = FeatureStream.resumed(image.stream)
        self._synergies = SynergyStream.resumed(image.signals)
        self._rows = {row.time_s: row for row in image.rows}
        self._last, self._arrived_s = image.last, image.arrived_s
        self._tradable, self._since_gap = image.tradable, image.since_gap

    def check(self, bars: list[BarInput], now_s: float) -> BarPlan:
        """Return what ``push`` would do with the bars of a request; nothing changes.

        Raises:
            RequestError: 422 for a bar off the grid, out of order, not closed yet or with prices
                that contradict each other; 409 for a bar that was accepted with other values.
        """
        new: list[BarRow] = []
        repeated, before = 0, -1
        for i, bar in enumerate(bars):
            row = self._row(bar, f"bars[{i}]", now_s)
            if row.time_s <= before:
                raise invalid(
                    f"bars[{i}].timestamp",
                    f"must be later than the bar before it, found {row.time_s} after {before}",
                    "out_of_order",
                )
            before = row.time_s
            if self._last is not None and row.time_s <= self._last:
                self._require_repeat(row, f"bars[{i}]")
                repeated += 1
            else:
                new.append(row)
        return BarPlan(tuple(new), repeated, self._gaps(new))

    def push(self, rows: tuple[BarRow, ...], arrived_s: float) -> list[ClosedBar]:
        """Accept bars that ``check`` found to be new; return what the account is marked with."""
        first, tradable, missing = self._place(rows)
        self._since_gap = int(bars_since_gap(missing, self._since_gap)[-1])
        closed = []
        for row, is_first, is_open in zip(rows, first, tradable, strict=True):
            self._synergies.push(self._stream.push(*row[1:]), self._stream.birth)
            self._rows[row.time_s] = row
            self._last, self._tradable = row.time_s, bool(is_open)
            closed.append(ClosedBar(row.time_s, row.close, bool(is_first)))
        self._arrived_s = arrived_s
        while len(self._rows) > KEPT_BARS:
            del self._rows[next(iter(self._rows))]
        return closed

    def state(self) -> BufferState | None:
        """Return what decisions see of the bars, None before the first."""
        if self._last is None:
            return None
        full = self._stream.count >= WINDOW
        following_s = next_bar_s(self._last, self._instrument, self._bar_seconds)
        if following_s is None:  # the calendar ends: assume that the next bar follows at once
            following_s = self._last + self._bar_seconds
        return BufferState(
            matrix=self._stream.matrix().tobytes() if full else b"",
            price=self._stream.close,
            atr=self._stream.atr,
            last_s=self._last,
            arrived_s=self._arrived_s,
            bars=self._stream.count,
            tradable=self._tradable,
            bars_since_gap=self._since_gap if self._since_gap < NO_GAP else None,
            due_s=float(following_s + self._bar_seconds),
            synergy=self._synergies.current(),
        )

    def _row(self, bar: BarInput, field: str, now_s: float) -> BarRow:
        seconds = epoch_seconds(bar.timestamp, f"{field}.timestamp")
        if seconds % self._bar_seconds:
            raise invalid(
                f"{field}.timestamp",
                f"must be a multiple of {self._bar_seconds} s (UTC), found {exact(seconds)}",
                "off_grid",
            )
        if seconds + self._bar_seconds > now_s + FUTURE_SLACK_S:
            raise invalid(
                f"{field}.timestamp",
                f"the bar has not closed yet: it closes at {exact(seconds + self._bar_seconds)}, "
                f"now is {now_s:.0f}",
                "not_closed",
            )
        top, bottom = max(bar.open, bar.close), min(bar.open, bar.close)
        if bar.high < top:
            raise invalid(
                f"{field}.high",
                f"must be >= open and close ({exact(top)}), found {exact(bar.high)}",
            )
        if bar.low > bottom:
            raise invalid(
                f"{field}.low",
                f"must be <= open and close ({exact(bottom)}), found {exact(bar.low)}",
            )
        return BarRow(int(seconds), bar.open, bar.high, bar.low, bar.close, bar.volume)

    def _require_repeat(self, row: BarRow, field: str) -> None:
        kept = self._rows.get(row.time_s)
        if kept is None:
            raise invalid(
                f"{field}.timestamp",
                f"must be later than the last bar ({self._last}), found {row.time_s}",
                "out_of_order",
            )
        if kept != row:
            name = next(
                name for name in BarRow._fields if getattr(kept, name) != getattr(row, name)
            )
            raise RequestError(
                409,
                "conflict",
                f"{field}.{name}: the bar at {row.time_s} was accepted with "
                f"{exact(getattr(kept, name))}, found {exact(getattr(row, name))}",
                f"{field}.{name}",
            )

    def _gaps(self, new: list[BarRow]) -> tuple[Gap, ...]:
        if not new:
            return ()
        try:
            _, _, missing = self._place(tuple(new))
        except TacticalError as error:
            raise invalid("bars[0].timestamp", str(error)) from error
        # nothing can be missing before the very first bar
        before = [self._last or 0, *(row.time_s for row in new)]
        return tuple(
            Gap(after=before[i], before=new[i].time_s, missing_bars=int(missing[i]))
            for i in np.flatnonzero(missing).tolist()
        )

    def _place(self, rows: tuple[BarRow, ...]) -> tuple[Any, Any, Any]:
        times: IntArray = np.array([row.time_s for row in rows], dtype=np.int64)
        return follow_sessions(self._last, times, self._instrument, self._bar_seconds)
