"""The buffer of closed bars: which bars are accepted, and the matrix that is made of them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import Final

import msgspec
import numpy as np

from rllib_tactical.data.calendar.sessions import next_bar_s
from rllib_tactical.domain.decision.missing_bars import NO_GAP
from rllib_tactical.domain.features.synergy import NO_SYNERGY, Synergy
from rllib_tactical.domain.simulation.history import EMBARGO_BARS
from rllib_tactical.domain.types import WINDOW, Bars, Instrument
from rllib_tactical.errors import TacticalError
from serve.api.errors import RequestError, exact, invalid
from serve.api.responses import Gap
from serve.api.write_requests import BarInput, epoch_seconds
from serve.state.bar_streams import BarRow, BarStreams, ClosedBar, StreamsState

KEPT_BARS: Final = 20_000
"""Bars kept to tell a repeated bar from a conflicting one, and to compute anew what follows a
revised one: ten weeks of 5-minute bars, 24/7."""

CHECKPOINT_BARS: Final = 256
"""A bar that is taken in late or revised costs the bars since the last such point, not all."""

COMPARED_S: Final = 10 * 86_400
"""How much trading before the window tells what is usual in the market, seconds."""

FUTURE_SLACK_S: Final = 5.0
"""How far the clocks of the service and of the exchange may differ, seconds."""


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
        suspect: market rules of ``data check`` that bars of the window break.
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
    suspect: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether there are enough bars: a full window past the features' warm-up."""
        return self.bars >= EMBARGO_BARS


@dataclass(frozen=True, slots=True)
class BarPlan:
    """What a request changes: its new bars, those one place late, and those with other values.

    ``repeated``: how many bars change nothing; ``gaps``: those before the new bars.
    """

    new: tuple[BarRow, ...]
    late: tuple[BarRow, ...]
    revised: tuple[BarRow, ...]
    repeated: int
    gaps: tuple[Gap, ...]

    @property
    def rows(self) -> tuple[BarRow, ...]:
        """All bars that change something, oldest first."""
        return tuple(sorted((*self.new, *self.late, *self.revised)))


class BufferImage(msgspec.Struct, frozen=True):
    """Everything that a ``BarBuffer`` holds, for snapshots.

    ``base`` is what the bars before the kept ones, ``rows``, have left.
    """

    base: StreamsState
    now: StreamsState
    rows: list[BarRow]
    arrived_s: float


class BarBuffer:
    """The bars of one instrument, each accepted once."""

    def __init__(self, instrument: Instrument, bar_seconds: int) -> None:
        self._instrument, self._bar_seconds = instrument, bar_seconds
        self._base, self._now = (BarStreams(instrument, bar_seconds) for _ in range(2))
        self._rows: dict[int, BarRow] = {}  # oldest first
        self._checkpoints: deque[StreamsState] = deque(maxlen=KEPT_BARS // CHECKPOINT_BARS)
        self._arrived_s = 0.0
        self._suspect: tuple[str, ...] | None = ()  # None: not known yet
        self._seen: BufferState | None = None  # what ``state`` returned since the last bar

    @property
    def count(self) -> int:
        """Number of bars accepted so far."""
        return self._now.features.count

    @property
    def last_s(self) -> int | None:
        """Open time of the newest bar, None before the first."""
        return self._now.last_s

    def newest(self, count: int) -> list[BarRow]:
        """Return the newest bars that are kept, oldest first."""
        return list(islice(reversed(self._rows.values()), count))[::-1]

    def image(self) -> BufferImage:
        """Return what ``resume`` needs to go on from here."""
        rows = list(self._rows.values())
        return BufferImage(self._base.state(), self._now.state(), rows, self._arrived_s)

    def resume(self, image: BufferImage) -> None:
        """Go on from where ``image`` was made."""
        self._base.resume(image.base)
        self._now.resume(image.now)
        self._rows = {row.time_s: row for row in image.rows}
        self._checkpoints.clear()
        self._arrived_s, self._suspect, self._seen = image.arrived_s, None, None

    def check(self, bars: list[BarInput], now_s: float, revise: bool = False) -> BarPlan:
        """Return what ``push`` would do with the bars of a request; nothing changes.

        Args:
            bars: oldest first.
            now_s: epoch time.
            revise: whether a bar that was accepted with other values is replaced.

        Raises:
            RequestError: 422 for a bar off the grid, out of order, not closed yet or with prices
                that contradict each other; 409 for a bar that was accepted with other values.
        """
        new: list[BarRow] = []
        late: list[BarRow] = []
        revised: list[BarRow] = []
        before = -1
        for i, bar in enumerate(bars):
            row = self._row(bar, f"bars[{i}]", now_s)
            if row.time_s <= before:
                raise invalid(
                    f"bars[{i}].timestamp",
                    f"must be later than the bar before it, found {row.time_s} after {before}",
                    "out_of_order",
                )
            before = row.time_s
            kept = self._rows.get(row.time_s)
            if self.last_s is None or row.time_s > self.last_s:
                new.append(row)
            elif kept is None:
                self._require_one_place_late(row, f"bars[{i}]")
                late.append(row)
            elif kept != row:
                if not revise:
                    raise _conflict(kept, row, f"bars[{i}]")
                revised.append(row)
        repeated = len(bars) - len(new) - len(late) - len(revised)
        return BarPlan(tuple(new), tuple(late), tuple(revised), repeated, self._gaps(new))

    def push(self, rows: tuple[BarRow, ...], arrived_s: float) -> list[ClosedBar]:
        """Accept the bars of a plan; return those that the account is to be marked with.

        These are all bars from the first of ``rows`` on: also the ones that were accepted before
        and follow a late or revised one.
        """
        if self.last_s is not None and rows[0].time_s <= self.last_s:
            kept = self._go_back(rows[0].time_s)
            rows = tuple(sorted((kept | {row.time_s: row for row in rows}).values()))
        closed = self._push(rows)
        self._arrived_s, self._suspect, self._seen = arrived_s, None, None
        surplus = list(islice(self._rows.values(), max(0, len(self._rows) - KEPT_BARS)))
        if surplus:
            self._base.push(surplus)
            for row in surplus:
                del self._rows[row.time_s]
        return closed

    def state(self, live: bool = True) -> BufferState | None:
        """Return what decisions see of the bars, None before the first.

        Args:
            live: whether the market rules are looked up; a replay's file was checked.
        """
        if self._seen is None or (live and self._suspect is None):
            self._seen = self._look(live)
        return self._seen

    def _look(self, live: bool) -> BufferState | None:
        now, features = self._now, self._now.features
        if now.last_s is None:
            return None
        full = features.count >= WINDOW
        following_s = next_bar_s(now.last_s, self._instrument, self._bar_seconds)
        if following_s is None:  # the calendar ends: assume that the next bar follows at once
            following_s = now.last_s + self._bar_seconds
        return BufferState(
            matrix=features.matrix().tobytes() if full else b"",
            price=features.close,
            atr=features.atr,
            last_s=now.last_s,
            arrived_s=self._arrived_s,
            bars=features.count,
            tradable=now.tradable,
            bars_since_gap=now.since_gap if now.since_gap < NO_GAP else None,
            due_s=float(following_s + self._bar_seconds),
            synergy=now.synergies.current(),
            suspect=self._suspect_rules() if live else (),
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

    def _suspect_rules(self) -> tuple[str, ...]:
        """Return the market rules that bars of the window break, looked up once per push."""
        if self._suspect is None:
            # it loads pandas, which a replay of 24/7 bars does without
            from rllib_tactical.data.quality.market_rules import suspect_bars

            span = COMPARED_S // self._bar_seconds + WINDOW
            times, *prices = zip(*self.newest(span), strict=True)
            bars = Bars(np.array(times), *(np.array(values) for values in prices))
            found = suspect_bars(bars, self._instrument, self._bar_seconds)
            self._suspect = tuple(rule for rule, bad in found.items() if bad[-WINDOW:].any())
        return self._suspect

    def _push(self, rows: tuple[BarRow, ...]) -> list[ClosedBar]:
        closed: list[ClosedBar] = []
        for start in range(0, len(rows), CHECKPOINT_BARS):
            before = self.count // CHECKPOINT_BARS
            closed += self._now.push(rows[start : start + CHECKPOINT_BARS])
            if self.count // CHECKPOINT_BARS > before:
                self._checkpoints.append(self._now.state())
        self._rows.update((row.time_s, row) for row in rows)
        return closed

    def _go_back(self, time_s: int) -> dict[int, BarRow]:
        """Forget the bars from ``time_s`` on, and return them."""
        points = self._checkpoints
        while points and _last_of(points[-1]) >= time_s:
            points.pop()
        start = self._base.state()
        if points and _last_of(points[-1]) > _last_of(start):
            start = points[-1]
        self._now.resume(start)
        forgotten = {at: row for at, row in self._rows.items() if at >= time_s}
        again = [row for at, row in self._rows.items() if _last_of(start) < at < time_s]
        if again:
            self._now.push(again)
        for at in forgotten:
            del self._rows[at]
        return forgotten

    def _require_one_place_late(self, row: BarRow, field: str) -> None:
        """Refuse a bar older than the last, unless it comes right before that one."""
        latest = reversed(self._rows)
        next(latest)
        before = next(latest, None)
        if before is not None and row.time_s > before:
            return
        raise invalid(
            f"{field}.timestamp",
            "must be later than the last bar, or one place late: later than the bar before it "
            f"({before}), found {row.time_s}",
            "out_of_order",
        )

    def _gaps(self, new: list[BarRow]) -> tuple[Gap, ...]:
        if not new:
            return ()
        try:
            _, _, missing = self._now.place(new)
        except TacticalError as error:
            raise invalid("bars[0].timestamp", str(error)) from error
        # nothing can be missing before the very first bar
        before = [self.last_s or 0, *(row.time_s for row in new)]
        return tuple(
            Gap(after=before[i], before=new[i].time_s, missing_bars=int(missing[i]))
            for i in np.flatnonzero(missing).tolist()
        )


def _last_of(state: StreamsState) -> int:
    return -1 if state.last_s is None else state.last_s


def _conflict(kept: BarRow, row: BarRow, field: str) -> RequestError:
    name = next(name for name in BarRow._fields if getattr(kept, name) != getattr(row, name))
    return RequestError(
        409,
        "conflict",
        f"{field}.{name}: the bar at {row.time_s} was accepted with "
        f"{exact(getattr(kept, name))}, found {exact(getattr(row, name))}; a correction says "
        "revise: true",
        f"{field}.{name}",
    )
