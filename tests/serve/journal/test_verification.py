"""A journal is verified record by record, and what cannot be recomputed is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.features.table import FeatureTable
from serve.journal.record import Caller, decision_entry
from serve.journal.verification import has_journal, verify_journal
from serve.state.opening import journal_name, open_store
from serve.state.records import entry_of, model_record
from serve.state.sqlite_store import SqliteStore
from serve.state.store import Entry
from tests.serve.journal.answers import decisions
from tests.serve.state.stores import valkey_server


def written(name: str, bundle: Bundle, table: FeatureTable) -> None:
    """Write a state of two records, and a journal of ten decisions, four of them archived."""
    state = open_store(name)
    state.append(0, [entry_of(model_record(bundle, "first"))] * 2)
    state.close()
    journal = open_store(journal_name(name))
    journal.append(0, [decision_entry(made, 2, Caller()) for made in decisions(bundle, table)])
    journal.archive(4)
    journal.close()


@pytest.fixture
def name(bundle: Bundle, table: FeatureTable, tmp_path: Path) -> str:
    found = str(tmp_path / "TEST")
    written(found, bundle, table)
    return found


def append(name: str, *entries: Entry) -> None:
    journal = open_store(journal_name(name))
    journal.append(journal.head().sequence, entries)
    journal.close()


def test_a_whole_journal_has_no_problem(
    name: str, bundle: Bundle, table: FeatureTable, tmp_path: Path
) -> None:
    found = verify_journal(name)
    assert (found.decisions, found.archived, found.bundles, found.problems) == (10, 4, 1, ())
    assert has_journal(name)
    assert not has_journal(str(tmp_path))
    with valkey_server(tmp_path / "server") as (url, _):
        written(f"{url}#TEST", bundle, table)
        assert verify_journal(f"{url}#TEST").problems == ()


def test_a_record_that_was_altered_or_removed_is_named(name: str) -> None:
    journal = SqliteStore(Path(journal_name(name)))
    journal._writer.execute("UPDATE records SET data = x'7B7D' WHERE sequence = 7")
    journal._writer.execute("DELETE FROM records WHERE sequence = 9")
    journal.close()
    problems = verify_journal(name).problems
    assert problems[0] == "record 7 is not what was written; whole up to record 6"
    assert problems[1].startswith("decision record 7 cannot be read: decision 7 was written by")


def test_a_decision_that_cannot_be_read_or_is_of_no_state_is_named(
    name: str, bundle: Bundle, table: FeatureTable
) -> None:
    (made,) = decisions(bundle, table, [330])
    entry = decision_entry(made, 2, Caller())

    def changed(**fields: Any) -> bytes:
        return msgspec.json.encode({**msgspec.json.decode(entry.data), **fields})

    append(
        name,
        Entry("decision", changed(matrix="AAAA"), "a"),
        Entry("decision", changed(answer={}), "b"),
        Entry("decision", changed(state_version=3), entry.key),
        Entry("decision", entry.data, "c"),
    )
    problems = verify_journal(name).problems
    assert len(problems) == 4
    assert problems[0].startswith("decision record 11 cannot be read: the window of a decision")
    assert problems[1].startswith("decision record 12 cannot be read")
    assert problems[2].endswith("13 is on version 3 of the state, which ends with 2")
    assert problems[3] == "decision record 14 is not under its own id"


def test_a_bundle_that_is_nowhere_is_named(name: str, bundle: Bundle, tmp_path: Path) -> None:
    bundle.path.rename(tmp_path / "moved")
    try:
        (problem,) = verify_journal(name).problems
        assert problem.startswith(f"10 decisions cannot be recomputed: bundle {bundle.bundle_id}")
        assert verify_journal(name, [tmp_path / "moved"]).problems == ()
    finally:
        (tmp_path / "moved").rename(bundle.path)
