"""Follows state and journal for the page: new bars, fills and decisions, and the audit trail.

It reads what is committed, so that pages see what every replica writes, and an event's id, which is
made of the two sequence numbers, means the same in each of them.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final, NamedTuple

from serve.api.page import AuditEntry, EventName, PageDecision
from serve.dashboard.rows import audit_entry, chart_bars, page_decision, page_fill
from serve.journal.record import decision_of
from serve.state.bar_times import BarTimes
from serve.state.records import (
    AccountRecord,
    BarsRecord,
    ControlRecord,
    FillsRecord,
    ModelRecord,
    record_of,
    time_of,
)
from serve.state.store import Store, StoredRecord

READ_DECISIONS: Final = 1_000
"""Newest decisions that a look takes that nobody has waited for: the first one, or after a rest."""

READ_AT_ONCE: Final = 50
"""Newest decisions that each look for an open page takes: reading slows decisions down."""

KEPT_DECISIONS: Final = 200
"""Newest decisions of each symbol that are kept for pages that open."""

KEPT_AUDIT: Final = 200
MAX_MISSED: Final = 500
"""Records and decisions that a page is told of after a cut; with more it starts again."""


class Cursor(NamedTuple):
    """How far state and journal have been read: the id of an event."""

    state: int
    journal: int

    def __str__(self) -> str:
        return f"{self.state}-{self.journal}"

    @classmethod
    def parse(cls, text: str) -> Cursor | None:
        """Return the cursor of an event's id, None for any other text."""
        parts = text.split("-")
        if len(parts) != 2 or not all(p.isascii() and p.isdecimal() and len(p) < 16 for p in parts):
            return None
        return cls(int(parts[0]), int(parts[1]))


class Event(NamedTuple):
    """What happened; ``symbol`` is None for what concerns all, ``data`` is one JSON value's."""

    cursor: Cursor
    name: EventName
    symbol: str | None
    data: object


class Trail:
    """What happened lately, as one process has read it.

    Its methods block: call them in a thread, one at a time.

    ``decisions``: the newest of each symbol; ``opening``: the newest whose order opens a position,
    however long ago; ``audit``: the newest entries of the audit trail.

    Args:
        state: the store of the state.
        journal: the store of the decisions.
        first: the symbol of records without one, which older versions wrote.
    """

    def __init__(self, state: Store, journal: Store, first: str) -> None:
        self._state, self._journal, self._first = state, journal, first
        self._times = BarTimes()
        self._before_s: float | None = None
        self.cursor: Cursor | None = None
        self.decisions: dict[str, deque[PageDecision]] = {}
        self.opening: dict[str, PageDecision] = {}
        self.audit: deque[AuditEntry] = deque(maxlen=KEPT_AUDIT)

    def catch_up(self, watched: bool = False) -> list[Event]:
        """Read what is new and return it; nothing at the first call, which only begins.

        ``watched``: a page is open, so that the last look was a moment ago.

        Raises:
            StoreError: state or journal cannot be read.
            DamagedError: another version wrote them.
        """
        if self.cursor is None:
            head = self._journal.head()
            self._read(Cursor(self._state.head().archived, head.archived), READ_DECISIONS)
            return []
        if (self._state.version(), self._journal.version()) == self.cursor:
            return []
        return self._read(self.cursor, READ_AT_ONCE if watched else READ_DECISIONS)

    def missed(self, since: Cursor) -> list[Event] | None:
        """Return what happened after an event, up to ``cursor``; None when it is too much.

        Raises:
            StoreError: state or journal cannot be read.
        """
        now = self.cursor
        if now is None or not all(
            0 <= b - a <= MAX_MISSED for a, b in zip(since, now, strict=True)
        ):
            return None
        archived = self._state.head().archived, self._journal.head().archived
        if any(a < b for a, b in zip(since, archived, strict=True)):
            return None
        found: list[Event] = []
        for stored in self._state.read_after(since.state):
            if stored.sequence <= now.state:
                found += self._told(stored, Cursor(stored.sequence, since.journal))
        for stored in self._journal.read_after(since.journal):
            if stored.sequence <= now.journal:
                found.append(self._decided(stored, Cursor(now.state, stored.sequence)))
        return found

    def _read(self, since: Cursor, decisions: int) -> list[Event]:
        """Read what is new; of more decisions than this the newest."""
        found: list[Event] = []
        # the journal's end first: its decisions are on states that are read after it
        upto = self._journal.version()
        for stored in self._state.read_after(since.state):
            record = record_of(stored)
            entry = audit_entry(record, stored.sequence, self._before_s)
            if entry is not None:
                self.audit.append(entry)
            if isinstance(record, BarsRecord):
                self._times.add(stored.sequence, record.symbol or self._first, record.rows)
            self._before_s = time_of(record, self._before_s)
            since = Cursor(stored.sequence, since.journal)
            found += self._told(stored, since)
        for stored in self._journal.read_after(max(since.journal, upto - decisions)):
            if stored.sequence > upto:
                break
            since = Cursor(since.state, stored.sequence)
            event = self._decided(stored, since)
            found.append(event)
            decision: Any = event.data
            kept = self.decisions.setdefault(decision.symbol, deque(maxlen=KEPT_DECISIONS))
            kept.append(decision)
            if decision.order is not None and decision.order.stop_loss is not None:
                self.opening[decision.symbol] = decision
        self.cursor = since
        return found

    def _told(self, stored: StoredRecord, cursor: Cursor) -> list[Event]:
        """Return the event of a record of the state."""
        record = record_of(stored)
        if isinstance(record, BarsRecord):
            symbol = record.symbol or self._first
            data = {"symbol": symbol, "bars": chart_bars(record.rows)}
            return [Event(cursor, "bars", symbol, data)]
        if isinstance(record, FillsRecord):
            symbol = record.symbol or self._first
            undone = [fill.corrects for fill in record.fills if fill.corrects is not None]
            fills = [page_fill(fill, False) for fill in record.fills]
            return [
                Event(
                    cursor,
                    "fills",
                    symbol,
                    {"symbol": symbol, "fills": fills, "busts": [*undone, *record.busts]},
                )
            ]
        if isinstance(record, ControlRecord | ModelRecord | AccountRecord):
            return [Event(cursor, "audit", None, {})]
        return []

    def _decided(self, stored: StoredRecord, cursor: Cursor) -> Event:
        record = decision_of(stored)
        bar_s = self._times.at(record.state_version, record.parts.symbol)
        decision = page_decision(record, bar_s)
        return Event(cursor, "decision", decision.symbol, decision)
