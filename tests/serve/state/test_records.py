"""Records as the store keeps them."""

from __future__ import annotations

import msgspec
import pytest

from rllib_tactical.bundle.bundle import Bundle
from serve.state.bar_streams import BarRow
from serve.state.portfolio import Fill
from serve.state.records import (
    BarsRecord,
    ControlRecord,
    FillsRecord,
    ModelRecord,
    ProposalRecord,
    Record,
    SessionRecord,
    entry_of,
    model_record,
    record_of,
)
from serve.state.store import DamagedError, Entry, Head, chained

RECORDS: tuple[Record, ...] = (
    BarsRecord(1.5, (BarRow(300, 0.1, 0.3, 1e-9, 0.2, 1e18),)),
    FillsRecord(2.0, (Fill("a", -1, 0.1, 2.0, -0.3, 1.0, "d", (1, 0, -1)),)),
    ControlRecord(3.0, "pause", None, "é"),
    SessionRecord(4.0),
    ProposalRecord("somewhere", "0" * 64),
)


def test_records_come_back_as_they_were(bundle: Bundle) -> None:
    records = [*RECORDS, model_record(bundle, "first")]
    stored = chained(Head(), [entry_of(record) for record in records])
    assert [record_of(record) for record in stored] == records


def test_the_bundles_record_holds_what_the_state_needs_of_it(bundle: Bundle) -> None:
    record = model_record(bundle, "first", live_bars=False)
    assert record.bundle_id == bundle.bundle_id
    assert record.instrument["symbol"] == "TEST"
    assert (record.launch, record.live_bars, record.bar_seconds) == ("first", False, 300)
    old = msgspec.json.encode(
        {"type": "model"}
        | {
            name: getattr(record, name)
            for name in ("path", "bundle_id", "instrument", "risk", "bar_seconds")
        }
    )
    (stored,) = chained(Head(), [Entry("state", old)])
    found = record_of(stored)
    assert isinstance(found, ModelRecord)
    assert (found.launch, found.live_bars) == (None, False)


def test_other_kinds_are_no_records_of_the_state() -> None:
    other, foreign = chained(Head(), [Entry("decision", b"[1]"), Entry("state", b"[1]")])
    assert record_of(other) is None
    with pytest.raises(DamagedError, match="record 2 was written by another version"):
        record_of(foreign)
