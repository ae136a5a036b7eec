"""What the open pages of one process are shown: a view to begin with, then events as they come.

One task reads what is new for all pages, and each event is encoded once. A page that does not take
its events loses its place, not the service its memory.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from typing import Any, Final

from rllib_tactical.domain.features.fvg import MAX_AGE
from serve.api.health import HealthAnswer
from serve.api.page import (
    AuditAnswer,
    EventName,
    MonitorsAnswer,
    PageDecision,
    StatusAnswer,
    ViewAnswer,
)
from serve.dashboard.rows import BEFORE_GAPS, chart_bars, encode, page_fill, zones_of
from serve.dashboard.status import status_of
from serve.dashboard.trail import Cursor, Event, Trail
from serve.decision.replica import StateReplica
from serve.state.store import DamagedError, StoreError

_LOG = logging.getLogger(__name__)

POLL_S: Final = 0.25
"""How often state and journal are looked at while a page is open."""

STATUS_S: Final = 1.0
HEALTH_S: Final = 5.0
BEAT_S: Final = 15.0
"""After so long without an event a comment is sent: both sides find out that they are cut."""

WAITING: Final = 256
"""How often a page may be told something before it takes it; then it has to ask again."""

FILLS: Final = 200
RETRY_MS: Final = 1_000


_Told = tuple[bytes, str | None]
"""A part of the stream, and the symbol that it is about."""


class _Page:
    """One open page: the symbol that it shows, None for all, and what waits to be sent to it."""

    def __init__(self, symbol: str | None) -> None:
        self.symbol = symbol
        self.parts: asyncio.Queue[bytes | None] = asyncio.Queue(WAITING)
        self.behind = False

    def put(self, part: bytes | None) -> None:
        try:
            self.parts.put_nowait(part)
        except asyncio.QueueFull:
            self.behind = True


class Hub:
    """Shows the state to the pages of one process.

    Args:
        replica: the state and the journal.
        health: returns the answer of ``GET /health``.
        monitors: returns what is watched beside the decisions.
        controls: whether operators can give orders from the page.
        clock: epoch time in seconds.
    """

    def __init__(
        self,
        replica: StateReplica,
        health: Callable[[], Awaitable[HealthAnswer]],
        monitors: Callable[[], MonitorsAnswer],
        controls: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._replica, self._health, self._clock = replica, health, clock
        self._monitors = monitors
        self._controls = controls
        self._pages: set[_Page] = set()
        self._trail: Trail | None = None
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._status: StatusAnswer | None = None
        self._ended = False

    async def view(self, symbol: str, bars: int, decisions: int) -> ViewAnswer:
        """Return what a page shows of a symbol first.

        Args:
            symbol: one that is served.
            bars: how many at most.
            decisions: how many at most.
        """
        trail = await self._advance()
        status = status_of(self._replica, self._clock())  # applies what the trail has seen
        machine = self._replica.machine.of(symbol)
        rows = machine.buffer.newest(bars + BEFORE_GAPS)
        # orders are written before the holds that wait, so not in the order of their times
        kept: list[PageDecision] = []
        if trail is not None:
            kept = sorted(trail.decisions.get(symbol, ()), key=lambda each: each.at_s)[-decisions:]
            opening = trail.opening.get(symbol)
            if opening is not None and opening not in kept:
                kept.insert(0, opening)  # has the levels of the position
        cursor = trail.cursor if trail is not None and trail.cursor is not None else Cursor(0, 0)
        return ViewAnswer(
            symbol=symbol,
            bars=chart_bars(rows[-bars:]),
            gaps=zones_of(rows, bars),
            decisions=kept,
            fills=[page_fill(fill, undone) for fill, undone in machine.newest_fills(FILLS)],
            status=status,
            cursor=str(cursor),
            controls=self._controls,
        )

    async def audit(self) -> AuditAnswer:
        """Return the newest entries of the audit trail."""
        trail = await self._advance()
        return AuditAnswer([] if trail is None else list(trail.audit))

    async def events(self, symbol: str | None, since: Cursor | None) -> AsyncGenerator[bytes, None]:
        """Yield server-sent events, one part each, until the client has gone.

        Args:
            symbol: whose bars, gaps, decisions and fills are sent; all when None.
            since: the last event that the client has, None to begin now.
        """
        page = _Page(symbol)
        trail = await self._advance()
        async with self._lock:
            missed: list[Event] | None = []
            if since is not None and trail is not None:
                missed = await self._missed(trail, since)
            self._pages.add(page)
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        try:
            yield b"retry: %d\n\n" % RETRY_MS
            if missed is None:
                yield event_part("reset", {})
                return
            for event in missed:
                if symbol is None or event.symbol in (None, symbol):
                    yield _part_of(event)
            yield event_part("status", status_of(self._replica, self._clock()))
            yield event_part("health", await self._health())
            yield event_part("monitors", self._monitors())
            while not page.behind or not page.parts.empty():
                try:
                    part = await asyncio.wait_for(page.parts.get(), BEAT_S)
                except TimeoutError:
                    part = b": still here\n\n"
                if part is None:
                    return
                yield part
            yield event_part("reset", {})
        finally:
            self._pages.discard(page)

    def stop(self) -> None:
        """End the events of all pages; they come again to another process."""
        self._ended = True
        for page in self._pages:
            page.put(None)
        if self._task is not None:
            self._task.cancel()

    async def _missed(self, trail: Trail, since: Cursor) -> list[Event] | None:
        try:
            return await asyncio.to_thread(trail.missed, since)
        except (StoreError, DamagedError):
            return None

    async def _run(self) -> None:
        status_at = health_at = 0.0
        try:
            while self._pages and not self._ended:
                await asyncio.sleep(POLL_S)
                try:
                    now = time.monotonic()
                    before = None if self._trail is None else self._trail.cursor
                    trail = await self._advance()
                    moved = trail is not None and trail.cursor != before
                    if moved or now - status_at >= STATUS_S:
                        status_at = now
                        self._send_status()
                    if now - health_at >= HEALTH_S:
                        health_at = now
                        self._send(
                            (event_part("health", await self._health()), None),
                            (event_part("monitors", self._monitors()), None),
                        )
                except Exception:
                    # a page must not end because one look at the state has failed
                    _LOG.exception("the pages were not told what is new")
        finally:
            self._task = None

    def _send_status(self) -> None:
        status = status_of(self._replica, self._clock())
        if status != self._status:
            self._status = status
            self._send((event_part("status", status), None))

    async def _advance(self) -> Trail | None:
        """Read what is new and tell the pages; None where the store could never be read."""
        async with self._lock:
            trail = self._trail
            if trail is None:
                store, journal = self._replica.stores
                trail = Trail(store, journal, next(iter(self._replica.machine.symbols)))
            try:
                events = await asyncio.to_thread(trail.catch_up, bool(self._pages))
            except (StoreError, DamagedError) as error:
                self._replica.availability.failed(error)
                return self._trail
            self._trail = trail
            if self._pages and events:
                told: list[_Told] = [(_part_of(event), event.symbol) for event in events]
                self._send(*told, *self._gaps(events))
            return trail

    def _gaps(self, events: list[Event]) -> Iterator[_Told]:
        """Yield the gaps of the newest bars of each symbol with new ones."""
        new: dict[str, int] = {}
        for event in events:
            if event.name == "bars" and event.symbol is not None:
                data: Any = event.data
                new[event.symbol] = new.get(event.symbol, 0) + len(data["bars"])
        if new:
            self._replica.all_active()  # applies the new bars
        for symbol, count in new.items():
            machine = self._replica.machine.symbols.get(symbol)
            if machine is None:
                continue
            shown = MAX_AGE + count
            rows = machine.buffer.newest(shown + BEFORE_GAPS)
            if not rows:
                continue
            first_s = rows[-shown:][0].time_s
            gaps = [gap for gap in zones_of(rows, shown) if gap.from_s >= first_s]
            told = {"symbol": symbol, "first_s": first_s, "gaps": gaps}
            yield event_part("gaps", told), symbol

    def _send(self, *told: _Told) -> None:
        """Send parts to the pages that they are for: to each one all of its own at once."""
        joined: dict[str | None, bytes] = {}
        for page in self._pages:
            if page.symbol not in joined:
                own = (None, page.symbol)
                joined[page.symbol] = b"".join(
                    part for part, symbol in told if page.symbol is None or symbol in own
                )
            if part := joined[page.symbol]:
                page.put(part)


def event_part(name: EventName, data: object, cursor: Cursor | None = None) -> bytes:
    """Return one server-sent event; JSON has no line ends of its own."""
    known = b"" if cursor is None else b"id: %s\n" % str(cursor).encode()
    return b"%sevent: %s\ndata: %s\n\n" % (known, name.encode(), encode(data))


def _part_of(event: Event) -> bytes:
    return event_part(event.name, event.data, event.cursor)
