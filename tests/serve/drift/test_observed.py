"""What a state and its journal say of bars, decisions and trades, in whole sessions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.features.table import FeatureTable
from rllib_tactical.domain.simulation.history import EMBARGO_BARS
from serve.drift.observed import observe_state
from serve.journal.record import Caller, decision_entry
from serve.state.bar_streams import BarRow
from serve.state.opening import journal_name, open_store
from serve.state.portfolio import Fill
from serve.state.records import BarsRecord, FillsRecord, Record, entry_of, model_record
from tests.serve.conftest import walk
from tests.serve.journal.answers import decisions

BARS = walk(900, seed=7)
DAY, DAY_S = 288, 86_400
"""Bars and seconds of a session: three are whole, the fourth goes on."""


def bars_record(first: int, stop: int) -> BarsRecord:
    part = BARS[first:stop]
    columns = (part.timestamp_s, part.open, part.high, part.low, part.close, part.volume)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return BarsRecord(float(stop), tuple(BarRow(*row) for row in rows), symbol="TEST")


def written(folder: Path, *records: Record) -> str:
    """Write records to the store of a state and return its name."""
    name = str(folder / "TEST")
    store = open_store(name)
    store.append(0, [entry_of(record) for record in records])
    store.close()
    open_store(journal_name(name)).close()
    return name


def test_only_whole_sessions_count_and_entries_are_matched_with_their_decisions(
    bundle: Bundle, table: FeatureTable, tmp_path: Path
) -> None:
    decided, early, late = decisions(bundle, table, [310, 311, 312])
    ids = [each.answer.decision_id for each in (decided, late)]
    price, own = decided.request.price, bundle.bundle_id
    bought, start_s = price * (1.0 + 2e-4), 2.0 * DAY_S
    fills = (
        Fill("1", 1, 1.0, bought, 0.0, start_s + 600, ids[0], (1, 1, 1), bundle_id=own),
        Fill("2", -1, 1.0, bought + 3.0, 0.0, start_s + 1200),
        Fill("3", -1, 1.0, price, 0.0, start_s + 1800, "not in the journal", bundle_id=own),
        Fill("4", 1, 1.0, price + 1.0, 0.0, start_s + 2400),
        Fill("5", 1, 1.0, price, 0.0, start_s + 3000, bundle_id="c" * 64),
        Fill("6", -1, 1.0, price + 1.0, 0.0, start_s + 3600),
        Fill("7", 1, 1.0, price, 0.0, start_s + 4200, ids[1], bundle_id=own),
        Fill("8", -1, 1.0, price, 0.0, start_s + DAY_S + 600),  # in the session that goes on
    )
    name = written(
        tmp_path,
        model_record(bundle, "first"),
        bars_record(0, 600),
        bars_record(600, 900),
        FillsRecord(900.0, fills, symbol="TEST"),
    )
    journal = open_store(journal_name(name))
    # on the bars up to 599, before any bar, and on all bars: the last in the fourth session
    versions = ((decided, 2), (early, 1), (late, 3))
    journal.append(0, [decision_entry(each, v, Caller()) for each, v in versions])
    journal.close()

    found = observe_state(name, "TEST", own)
    assert found is not None
    whole = np.arange(EMBARGO_BARS - 1, 3 * DAY)
    np.testing.assert_array_equal(found.bar_session, whole // DAY)
    assert len(found.inputs) == len(whole)
    assert found.decision_session.tolist() == [2]
    confidence = decided.answer.decision.confidence
    assert found.confidence.tolist() == [confidence]
    assert found.votes.shape == (1, 3)
    assert found.trade_session.tolist() == [2, 2]
    np.testing.assert_allclose(found.pnl, [3.0, -1.0])
    np.testing.assert_allclose(found.slippage, [2e-4, np.nan], rtol=1e-6)
    np.testing.assert_array_equal(found.score, [confidence, np.nan])
    assert np.isfinite(found.right).tolist() == [True, False]

    other = observe_state(name, "TEST", "c" * 64)
    assert other is not None
    assert (other.decision_session.size, other.trade_session.tolist()) == (0, [2])
    assert observe_state(name, "OTHER", own) is None


def test_too_few_bars_are_no_observations(bundle: Bundle, tmp_path: Path) -> None:
    model = model_record(bundle, "first")
    few = written(tmp_path / "few", model, bars_record(0, EMBARGO_BARS))
    assert observe_state(few, "TEST", bundle.bundle_id) is None
    enough = written(tmp_path / "enough", model, bars_record(0, EMBARGO_BARS + 1))
    assert observe_state(enough, "TEST", bundle.bundle_id) is not None


def test_a_state_without_records_is_no_observations(tmp_path: Path) -> None:
    assert observe_state(written(tmp_path), "TEST", "b" * 64) is None
