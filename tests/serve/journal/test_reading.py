"""Decisions are found by span and symbol, each once, and become rows and files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.features.table import FeatureTable
from rllib_tactical.errors import DataError, UsageError
from serve.journal.reading import (
    epoch_s,
    find_decision,
    find_journal,
    line_of,
    read_decisions,
    row_of,
    write_parquet,
)
from serve.journal.record import Caller, decision_entry
from serve.state.opening import journal_name, open_store
from serve.state.store import DamagedError, Store
from tests.serve.journal.answers import decisions
from tests.serve.state.stores import KINDS, any_store


@pytest.fixture
def folder(bundle: Bundle, table: FeatureTable, tmp_path: Path) -> Iterator[str]:
    """Return the folder of a state with ten decisions in its journal, the first four archived."""
    open_store(str(tmp_path / "TEST")).close()
    store = open_store(journal_name(str(tmp_path / "TEST")))
    caller = Caller(request_id="r", token="desk", address="10.0.0.7")
    entries = [decision_entry(d, 1, caller) for d in decisions(bundle, table)]
    store.append(0, entries)
    store.archive(4)
    store.append(10, entries[:1])  # a repeat whose record is archived is written again
    store.close()
    yield str(tmp_path / "TEST")


def test_each_decision_is_read_once_also_from_the_archive(
    folder: str, bundle: Bundle, table: FeatureTable
) -> None:
    name = find_journal(str(Path(folder).parent))
    assert name == find_journal(str(Path(folder).parent), "TEST") == folder
    ids = [decided.answer.decision_id for decided in decisions(bundle, table)]
    assert [record.decision_id for record in read_decisions(name)] == ids
    some = read_decisions(name, start_s=312.0, end_s=314.0, symbol="TEST")
    assert [record.at_s for record in some] == [312.0, 313.0]
    assert list(read_decisions(name, symbol="OTHER")) == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_journal_of_either_store_is_read(
    kind: str, bundle: Bundle, table: FeatureTable, tmp_path: Path
) -> None:
    def written(store: Store) -> None:
        store.append(0, [decision_entry(d, 1, Caller()) for d in decisions(bundle, table, [310])])

    with any_store(kind, tmp_path) as state:
        journal = open_store(journal_name(state.name))
        written(journal)
        journal.close()
        assert len(list(read_decisions(find_journal(state.name)))) == 1


def test_a_decision_is_found_by_the_beginning_of_its_id(folder: str) -> None:
    (first, *_) = read_decisions(folder)
    assert find_decision(folder, first.decision_id[:10]) == first
    with pytest.raises(DataError, match=r"found 10: $"):
        find_decision(folder, "")


def test_a_state_without_journal_and_a_damaged_one_are_refused(folder: str, tmp_path: Path) -> None:
    open_store(str(tmp_path / "none" / "TEST")).close()
    with pytest.raises(UsageError, match="must hold a journal of decisions, found none"):
        find_journal(str(tmp_path / "none"))
    store = open_store(journal_name(folder))
    store._writer.execute("DELETE FROM records WHERE sequence = 7")  # type: ignore[attr-defined]
    store.close()
    with pytest.raises(DamagedError, match=r"record 7 is missing.*tactical state restore"):
        list(read_decisions(folder))


def test_a_row_has_all_that_was_decided_on(
    folder: str, bundle: Bundle, table: FeatureTable, tmp_path: Path
) -> None:
    (record, *_) = read_decisions(folder)
    made = decisions(bundle, table)[0]
    row = row_of(record)
    assert row["matrix"] == made.request.matrix.tolist()
    assert (row["price"], row["request_id"], row["state_version"]) == (table.close[310], "r", 1)
    assert row["fvg_probabilities"] == made.answer.agent_breakdown.fvg.probabilities
    assert row["score_long"] == made.answer.decision.scores.long
    line = line_of(record)
    assert line.endswith("  policy  desk from 10.0.0.7")
    assert row["token"] == "desk"
    assert line.startswith(f"1970-01-01T00:05:10+00:00  {record.decision_id[:12]}  TEST")
    written = tmp_path / "out.parquet"
    assert write_parquet(read_decisions(folder), written) == 10
    assert pq.read_table(written).to_pylist()[0] == row
    with pytest.raises(UsageError, match="--parquet must be a file that can be written"):
        write_parquet(read_decisions(folder), tmp_path / "no" / "out.parquet")


def test_times_are_of_utc_unless_they_name_a_zone() -> None:
    assert epoch_s("1970-01-02", "--from") == 86_400.0
    assert epoch_s("1970-01-01T01:00+01:00", "--to") == 0.0
    with pytest.raises(UsageError, match="--to must be an ISO-8601 date or time, found soon"):
        epoch_s("soon", "--to")
