"""One past day of a symbol, read from state and journal."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from itertools import chain
from typing import Final
from zoneinfo import ZoneInfo

from rllib_tactical.domain.types import WINDOW
from serve.api.errors import invalid
from serve.api.page import AuditEntry, DayAnswer, PageDecision
from serve.dashboard.rows import (
    BEFORE_GAPS,
    audit_entry,
    chart_bars,
    page_decision,
    page_fill,
    zones_of,
)
from serve.journal.reading import read_decisions
from serve.state.bar_streams import BarRow
from serve.state.bar_times import BarTimes
from serve.state.opening import open_store
from serve.state.portfolio import Fill
from serve.state.records import BarsRecord, FillsRecord, ModelRecord, Record, record_of, time_of
from serve.state.store import unpack

MAX_DECISIONS: Final = 3_000
"""Newest decisions of a day that are shown."""


class _Story:
    """What the state says of one symbol, from its first record to its last."""

    def __init__(self, name: str, symbol: str) -> None:
        self.rows: dict[int, BarRow] = {}
        self.fills: dict[str, Fill] = {}
        self.undone: set[str] = set()
        self.audit: list[AuditEntry] = []
        self.times = BarTimes(kept=None)
        self.timezone, self.bar_seconds = "UTC", 300
        before_s: float | None = None
        first: str | None = None
        for sequence, record in _records(name):
            if isinstance(record, ModelRecord):
                first = first or record.symbol
                if record.symbol == symbol:
                    self.timezone = str(record.instrument.get("timezone", "UTC"))
                    self.bar_seconds = record.bar_seconds
            entry = audit_entry(record, sequence, before_s)
            if entry is not None and entry.symbol in (None, symbol):
                self.audit.append(entry)
            before_s = time_of(record, before_s)
            if isinstance(record, BarsRecord | FillsRecord) and (record.symbol or first) == symbol:
                self._take(sequence, record)

    def _take(self, sequence: int, record: BarsRecord | FillsRecord) -> None:
        if isinstance(record, BarsRecord):
            self.rows.update((row.time_s, row) for row in record.rows)
            self.times.add(sequence, "", record.rows)
            return
        for fill in record.fills:
            self.fills[fill.fill_id] = fill
            if fill.corrects is not None:
                self.undone.add(fill.corrects)
        self.undone.update(record.busts)


def day_of(name: str, symbol: str, day: str | None) -> DayAnswer:
    """Return one day of a symbol, in the time zone of its instrument.

    Args:
        name: of the state, see ``store_name``.
        symbol: which one.
        day: a date such as 2026-03-02; the newest day with bars when None.

    Raises:
        RequestError: 422 when it is no date.
        ServiceError: state or journal cannot be read, or are not what was written.
    """
    wanted = None if day is None else _date(day)
    story = _Story(name, symbol)
    zone = ZoneInfo(story.timezone)
    times = sorted(story.rows)
    days = sorted({datetime.fromtimestamp(time_s, zone).date() for time_s in times})
    if wanted is None and days:
        wanted = days[-1]
    if wanted is None:
        start_s = end_s = 0.0
    else:
        start_s, end_s = _midnight(wanted, zone), _midnight(wanted + timedelta(days=1), zone)
    inside = [i for i, time_s in enumerate(times) if start_s <= time_s < end_s]
    begin, end = (inside[0], inside[-1] + 1) if inside else (0, 0)
    rows = [story.rows[time_s] for time_s in times[max(0, begin - BEFORE_GAPS) : end]]
    shown = end - max(0, begin - WINDOW)
    fills = [
        page_fill(fill, fill.fill_id in story.undone)
        for fill in story.fills.values()
        if start_s <= fill.time_s < end_s + story.bar_seconds
    ]
    return DayAnswer(
        symbol=symbol,
        day=None if wanted is None else wanted.isoformat(),
        days=[each.isoformat() for each in days],
        timezone=story.timezone,
        bar_seconds=story.bar_seconds,
        first_s=times[begin] if inside else None,
        bars=chart_bars(rows[-shown:] if shown else []),
        gaps=zones_of(rows, shown) if shown else [],
        decisions=_decisions(name, symbol, story, start_s, end_s)[-MAX_DECISIONS:],
        fills=fills,
        audit=[e for e in story.audit if e.at_s is not None and start_s <= e.at_s < end_s],
    )


def _decisions(
    name: str, symbol: str, story: _Story, start_s: float, end_s: float
) -> list[PageDecision]:
    """Return the decisions on the bars of a day; without bars those of its time."""
    found = []
    for record in read_decisions(name, symbol=symbol):
        bar_s = story.times.at(record.state_version, "")
        if start_s <= (record.at_s if bar_s is None else bar_s) < end_s:
            found.append(page_decision(record, bar_s))
    return found


def _records(name: str) -> Iterator[tuple[int, Record | None]]:
    store = open_store(name)
    try:
        image = store.image(archives=True)
    finally:
        store.close()
    for stored in chain(*map(unpack, image.archives), image.records):
        yield stored.sequence, record_of(stored)


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise invalid("day", f"must be a date such as 2026-03-02, found {text}") from error


def _midnight(day: date, zone: ZoneInfo) -> float:
    return datetime.combine(day, time(), zone).timestamp()
