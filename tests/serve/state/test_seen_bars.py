from __future__ import annotations

import numpy as np

from rllib_tactical.domain.types import Instrument
from serve.state.bar_streams import BarRow
from serve.state.records import BarsRecord, ControlRecord, Record, entry_of
from serve.state.seen_bars import SeenBars
from serve.state.store import Head, StoredRecord, chained
from tests.serve.writes import BARS


def stored(*records: Record) -> list[StoredRecord]:
    return chained(Head(), [entry_of(record) for record in records])


def rows(first: int, stop: int) -> tuple[BarRow, ...]:
    return tuple(
        BarRow(
            int(BARS.timestamp_s[t]),
            *(float(getattr(BARS, n)[t]) for n in ("open", "high", "low", "close", "volume")),
        )
        for t in range(first, stop)
    )


def test_bars_are_those_of_the_records_with_their_newest_values() -> None:
    seen = SeenBars(Instrument(symbol="TEST", tick_size=0.01), 300)
    revised = rows(9, 10)[0]._replace(close=100.0, low=90.0)
    records = stored(
        BarsRecord(1.0, rows(0, 360), symbol="TEST"),
        ControlRecord(1.0, "pause", None),
        BarsRecord(2.0, rows(0, 400), symbol="OTHER"),
        BarsRecord(3.0, rows(360, 400)),  # of an older version
        BarsRecord(4.0, (revised,), symbol="TEST"),
    )
    assert seen.history() is None
    assert [seen.add(record) for record in records[:2]] == [True, False]
    assert seen.history() is None  # too few
    assert [seen.add(record) for record in records[2:]] == [False, True, True]
    history = seen.history()
    assert history is not None and len(history) == 400
    np.testing.assert_array_equal(history.bars.timestamp_s, BARS.timestamp_s[:400])
    assert history.bars.close[9] == 100.0 and history.bars.close[10] == BARS.close[10]
    last = [seen.newest(version) for version in (0, 1, 3, 4, 5)]
    assert last == [None, *(int(BARS.timestamp_s[t]) for t in (359, 359, 399, 399))]
