"""A past day is cut out of a state in the time zone of its instrument."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.features.table import FeatureTable
from serve.api.errors import RequestError
from serve.dashboard.days import day_of
from serve.journal.record import Caller, decision_entry
from serve.state.bar_streams import BarRow
from serve.state.opening import journal_name, open_store
from serve.state.portfolio import Fill
from serve.state.records import (
    BarsRecord,
    ControlRecord,
    FillsRecord,
    ModelRecord,
    Record,
    entry_of,
    model_record,
)
from tests.serve.journal.answers import decisions

ZONE = "America/New_York"
MIDNIGHT_S = int(datetime(2026, 3, 3, tzinfo=ZoneInfo(ZONE)).timestamp())


def written(folder: Path, *records: Record) -> str:
    """Write records to the store of a state and return its name."""
    name = str(folder / "TEST")
    store = open_store(name)
    store.append(0, [entry_of(record) for record in records])
    store.close()
    return name


def model(bundle: Bundle, symbol: str = "TEST") -> ModelRecord:
    """Return the record of a bundle whose instrument lives in New York."""
    record = model_record(bundle, "first")
    instrument = {**record.instrument, "symbol": symbol, "timezone": ZONE}
    return msgspec.structs.replace(record, instrument=instrument)


def bars(*minutes: int, symbol: str | None = "TEST") -> BarsRecord:
    """Return a record of bars that open so many minutes after midnight."""
    rows = tuple(BarRow(MIDNIGHT_S + 60 * m, 10.0, 11.0, 9.0, 10.5, 5.0) for m in minutes)
    return BarsRecord(float(rows[-1].time_s), rows, symbol=symbol)


def fill(name: str, minute: int, corrects: str | None = None) -> Fill:
    return Fill(name, 1, 1.0, 10.0, 0.0, MIDNIGHT_S + 60.0 * minute, corrects=corrects)


def test_a_day_begins_at_its_instruments_midnight(
    bundle: Bundle, table: FeatureTable, tmp_path: Path
) -> None:
    before = ControlRecord(MIDNIGHT_S - 1.0, "pause", None, "evening", "ann", "TEST")
    inside = ControlRecord(float(MIDNIGHT_S), "none", None, "morning", "ann", "TEST")
    name = written(
        tmp_path,
        model(bundle),
        bars(-10, -5),
        before,
        inside,
        bars(0, 5, symbol=None),  # of an older version: the first symbol's
    )
    journal = open_store(journal_name(name))
    made = decisions(bundle, table, [310, 311, 312])
    versions = (2, 5, 1)  # on a bar of the day before, on one of the day, and before any bar
    entries = [decision_entry(d, v, Caller()) for d, v in zip(made, versions, strict=True)]
    journal.append(0, entries)
    journal.close()

    found = day_of(name, "TEST", "2026-03-03")
    assert (found.timezone, found.days) == (ZONE, ["2026-03-02", "2026-03-03"])
    assert found.first_s == MIDNIGHT_S
    assert [bar[0] - MIDNIGHT_S for bar in found.bars] == [-600, -300, 0, 300]
    assert [entry.note for entry in found.audit] == ["morning"]
    assert [each.decision_id for each in found.decisions] == [made[1].answer.decision_id]
    assert found.decisions[0].bar_s == MIDNIGHT_S + 300
    assert day_of(name, "TEST", None) == found  # the newest

    earlier = day_of(name, "TEST", "2026-03-02")
    assert [bar[0] - MIDNIGHT_S for bar in earlier.bars] == [-600, -300]
    assert [entry.note for entry in earlier.audit] == ["evening"]
    assert [each.decision_id for each in earlier.decisions] == [made[0].answer.decision_id]


def test_fills_of_the_symbol_are_shown_and_those_undone_are_marked(
    bundle: Bundle, tmp_path: Path
) -> None:
    name = written(
        tmp_path,
        model(bundle),
        model(bundle, "OTHER"),
        bars(0),
        bars(0, 5, symbol="OTHER"),
        FillsRecord(1.0, (fill("yesterday", -1), fill("wrong", 1), fill("busted", 2)), symbol=None),
        FillsRecord(2.0, (fill("right", 1, corrects="wrong"),), ("busted",), symbol="TEST"),
        FillsRecord(3.0, (fill("other", 1),), symbol="OTHER"),
    )
    found = day_of(name, "TEST", "2026-03-03")
    undone = {each.fill_id: each.busted for each in found.fills}
    assert undone == {"wrong": True, "busted": True, "right": False}
    assert len(found.bars) == 1
    assert [each.fill_id for each in day_of(name, "OTHER", None).fills] == ["other"]


def test_a_day_that_is_no_date_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    name = written(tmp_path, model(bundle))
    with pytest.raises(RequestError, match="must be a date such as 2026-03-02, found 3 March"):
        day_of(name, "TEST", "3 March")
    empty = day_of(name, "TEST", None)
    assert (empty.day, empty.days, empty.bars, empty.first_s) == (None, [], [], None)
