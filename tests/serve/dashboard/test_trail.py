"""What the page is told of, in which order, and from where it goes on after a cut."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.features.table import FeatureTable
from serve.dashboard.trail import MAX_MISSED, Cursor, Trail
from serve.journal.record import Caller, decision_entry
from serve.state.bar_streams import BarRow
from serve.state.portfolio import Fill
from serve.state.records import BarsRecord, ControlRecord, FillsRecord, Record, entry_of
from serve.state.sqlite_store import SqliteStore
from serve.state.store import Store
from tests.serve.journal.answers import decisions


def bar(time_s: int) -> BarRow:
    return BarRow(time_s, 100.0, 101.0, 99.0, 100.5, 1.0)


def write(store: Store, *records: Record) -> None:
    store.append(store.version(), [entry_of(record) for record in records])


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[tuple[Store, Store]]:
    """Yield an empty state and an empty journal."""
    state, journal = SqliteStore(tmp_path / "state"), SqliteStore(tmp_path / "journal")
    yield state, journal
    state.close()
    journal.close()


def test_an_id_is_read_back_and_no_other_text_is_one() -> None:
    assert Cursor.parse(str(Cursor(12, 3))) == Cursor(12, 3)
    for text in ("", "12", "1-2-3", "-1-2", "1-x", "1-\u0663", "1-" + "9" * 16):
        assert Cursor.parse(text) is None


def test_a_trail_tells_what_came_since_and_a_page_what_it_missed(
    bundle: Bundle, table: FeatureTable, stores: tuple[Store, Store]
) -> None:
    state, journal = stores
    write(state, BarsRecord(1.0, (bar(300),)))
    trail = Trail(state, journal, "TEST")
    assert trail.missed(Cursor(0, 0)) is None
    assert trail.catch_up() == []
    assert trail.cursor == Cursor(1, 0)
    fill = Fill("b", 1, 1.0, 100.0, 0.0, 650.0, corrects="a")
    write(
        state,
        BarsRecord(2.0, (bar(600),)),
        FillsRecord(3.0, (fill,), ("c",)),
        ControlRecord(4.0, "pause", None, by="ann"),
    )
    (made,) = decisions(bundle, table, [310])
    journal.append(0, [decision_entry(made, 2, Caller())])
    found = trail.catch_up()
    assert [(event.name, str(event.cursor), event.symbol) for event in found] == [
        ("bars", "2-0", "TEST"),
        ("fills", "3-0", "TEST"),
        ("audit", "4-0", None),
        ("decision", "4-1", "TEST"),
    ]
    told: Any = found[1].data
    assert told["busts"] == ["a", "c"]
    assert [each.bar_s for each in trail.decisions["TEST"]] == [600]
    assert [(each.what, each.by) for each in trail.audit] == [("pause", "ann")]
    assert trail.catch_up() == []
    assert trail.missed(Cursor(1, 0)) == found
    assert [str(event.cursor) for event in trail.missed(Cursor(3, 1)) or []] == ["4-1"]
    assert trail.missed(Cursor(5, 1)) is None  # of a state that is not this one
    write(state, *[ControlRecord(5.0, "resume", None) for _ in range(MAX_MISSED)])
    trail.catch_up()
    assert trail.missed(Cursor(3, 1)) is None
    assert len(trail.missed(Cursor(4, 1)) or []) == MAX_MISSED
