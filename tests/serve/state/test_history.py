"""Records that were removed, repeated, swapped, altered or cut off are found and refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rllib_tactical.bundle.bundle import Bundle
from serve.state.history import check_image, keep_short, load, restored
from serve.state.machine import StateMachine
from serve.state.records import ControlRecord, entry_of, model_record
from serve.state.sqlite_store import SqliteStore
from serve.state.store import (
    Archive,
    DamagedError,
    Entry,
    Head,
    Image,
    Store,
    StoredRecord,
    StoredSnapshot,
    after,
    chained,
    pack,
)
from tests.serve.state.stores import KINDS, any_store, entries, reopened

Damage = Callable[[list[StoredRecord], int, int], list[StoredRecord]]


def removed(records: list[StoredRecord], i: int, j: int) -> list[StoredRecord]:
    return records[:i] + records[i + 1 :]


def repeated(records: list[StoredRecord], i: int, j: int) -> list[StoredRecord]:
    return [*records[:j], records[i], *records[j:]]


def swapped(records: list[StoredRecord], i: int, j: int) -> list[StoredRecord]:
    made = list(records)
    made[i], made[j] = made[j], made[i]
    return made


def cut(records: list[StoredRecord], i: int, j: int) -> list[StoredRecord]:
    return records[:i]


def altered(records: list[StoredRecord], i: int, j: int) -> list[StoredRecord]:
    return [
        *records[:i],
        replace(records[i], data=msgspec.Raw(bytes(records[i].data) + b" ")),
        *records[i + 1 :],
    ]


def renumbered(records: list[StoredRecord], i: int, j: int) -> list[StoredRecord]:
    """Remove one and give those after it the numbers that hide it."""
    later = [replace(record, sequence=record.sequence - 1) for record in records[i + 1 :]]
    return records[:i] + later


def rehashed(records: list[StoredRecord], i: int, j: int) -> list[StoredRecord]:
    """Remove one and chain all the others anew, as somebody who knows how would."""
    left = [(record.kind, bytes(record.data), record.key) for record in removed(records, i, j)]
    return chained(Head(), [Entry(*parts) for parts in left])


def image_of(count: int, archived: int = 0) -> Image:
    records = chained(Head(), entries(count))
    head = after(Head(), records)
    archives: list[Archive] = []
    if archived:
        last = records[archived - 1]
        head = replace(head, archived=archived, archived_hash=last.hash)
        archives, records = [pack(records[:archived])], records[archived:]
    return Image(head, records, [], archives, Head(head.sequence, head.hash))


@given(
    damage=st.sampled_from([removed, repeated, swapped, cut, altered, renumbered, rehashed]),
    count=st.integers(2, 12),
    archived=st.integers(0, 3),
    data=st.data(),
)
def test_any_damage_is_found_and_what_comes_before_it_is_kept(
    damage: Damage, count: int, archived: int, data: st.DataObject
) -> None:
    image = image_of(count + archived, archived)
    assert check_image(image) is None
    i = data.draw(st.integers(0, count - 1))
    j = data.draw(st.integers(0, count - 1).filter(lambda j: j != i))
    if damage is rehashed and archived:
        return
    spoilt = replace(image, records=damage(image.records, i, j))
    found = check_image(spoilt)
    assert found is not None
    kept, named = restored(spoilt)
    assert named == found
    assert check_image(replace(kept, known=None)) is None
    if damage is not rehashed:
        assert kept.records == image.records[: len(kept.records)]
        assert len(kept.records) >= min(i, j)


@given(count=st.integers(1, 8), lost=st.integers(1, 8))
def test_a_head_file_ahead_of_the_records_is_found(count: int, lost: int) -> None:
    """Records and head go together, as in an older copy of the database."""
    now, before = image_of(count + lost), image_of(count)
    found = check_image(replace(before, known=now.known))
    assert found is not None
    assert "which the head file names, are missing" in found.problem
    assert check_image(replace(now, known=before.known)) is None  # killed before it was written


def test_another_history_of_the_same_length_is_found() -> None:
    other = after(Head(), chained(Head(), entries(4, first=1)))
    found = check_image(replace(image_of(4), known=other))
    assert found is not None
    assert found.problem == "record 4 is not the one that the head file names"


@given(byte=st.integers(0, 200), archived=st.integers(1, 5))
def test_a_damaged_archive_is_found(byte: int, archived: int) -> None:
    image = image_of(archived + 2, archived)
    (archive,) = image.archives
    data = bytearray(archive.data)
    data[byte % len(data)] ^= 0x55
    try:
        found = check_image(replace(image, archives=[replace(archive, data=bytes(data))]))
    except DamagedError:
        return
    # a byte of the compressed header may say nothing about the records
    assert found is not None or byte % len(data) < 10
    missing = replace(image, head=replace(image.head, archived=archived + 1))
    assert check_image(missing) is not None


def filled(store: Store, bundle: Bundle, records: int = 12) -> StateMachine:
    """Write a state of pauses into a store; return it."""
    machine = StateMachine(model_record(bundle, "first"))
    made = [model_record(bundle, "first")] + [
        ControlRecord(float(i), "pause" if i % 2 else "resume", f"request-{i}")
        for i in range(records - 1)
    ]
    store.append(0, [entry_of(record) for record in made])
    for record in made[1:]:
        machine.apply(record)
    return machine


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_is_loaded_from_snapshot_archive_and_records(
    kind: str, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.state.history.LIVE_RECORDS", 3)
    with any_store(kind, tmp_path) as store:
        assert load(store) == (None, Head(), 0)
        machine = filled(store, bundle)
        found, head, applied = load(store)
        assert found is not None
        assert (found.dump(), head.sequence, applied) == (machine.dump(), 12, 12)
        keep_short(store, head, machine.dump())
        assert store.head().archived == 9
        machine.apply(ControlRecord(99.0, "flatten", "last"))
        store.append(12, [entry_of(ControlRecord(99.0, "flatten", "last"))])
        found, head, applied = load(store)
        assert found is not None
        assert (found.dump(), head.sequence, applied) == (machine.dump(), 13, 1)
        # without a snapshot the archive says the same
        store.replace(replace(store.image(archives=True), snapshots=[]))
        again = reopened(store)
        found, _, applied = load(again)
        assert found is not None
        assert (found.dump(), applied) == (machine.dump(), 13)
        again.close()


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("DELETE FROM records WHERE sequence = 5", "record 5 is missing"),
        ("DELETE FROM records WHERE sequence > 9", "records 10 to 12 are missing"),
        ("DELETE FROM records WHERE sequence BETWEEN 2 AND 4", "record 2 to 4 is missing"),
        (
            "UPDATE records SET data = X'7B7D' WHERE sequence = 3",
            "record 3 is not what was",
        ),
        ("UPDATE records SET key = 'k' WHERE sequence = 3", "record 3 is not what was written"),
        ("UPDATE head SET sequence = 11", "the head says that record 11 is the last, found 12"),
        ("DELETE FROM head", "the head is missing"),
    ],
)
def test_a_damaged_database_is_refused_with_the_commands_that_help(
    bundle: Bundle, tmp_path: Path, statement: str, problem: str
) -> None:
    store = SqliteStore(tmp_path)
    filled(store, bundle)
    store._writer.execute(statement)
    with pytest.raises(DamagedError) as error:
        load(store)
    store.close()
    message = str(error.value)
    assert problem in message
    assert f"`tactical state verify --state {tmp_path}`" in message
    assert f"`tactical state restore --state {tmp_path}`" in message


def test_an_older_copy_of_the_database_alone_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    filled(store, bundle)
    store.close()
    older = (tmp_path / "state.db").read_bytes()
    store = SqliteStore(tmp_path)
    store.append(12, [entry_of(ControlRecord(0.0, "pause", None))])
    store.close()
    (tmp_path / "state.db").write_bytes(older)
    store = SqliteStore(tmp_path)
    with pytest.raises(DamagedError, match="records 13 to 13, which the head file names"):
        load(store)
    store.close()


def test_what_is_not_of_the_state_is_counted_only(bundle: Bundle, tmp_path: Path) -> None:
    store = SqliteStore(tmp_path)
    machine = filled(store, bundle)
    store.append(12, [Entry("decision", b'{"any": "thing"}', "d")])
    machine.apply(None)
    found, _, _ = load(store)
    assert found is not None
    assert (found.version, found.dump()) == (13, machine.dump())
    store.close()


def test_records_are_applied_instead_of_a_snapshot_of_another_version(
    bundle: Bundle, tmp_path: Path
) -> None:
    store = SqliteStore(tmp_path)
    machine = filled(store, bundle)
    head = store.head()
    store.write_snapshot(StoredSnapshot.of(12, head.hash, msgspec.msgpack.encode([1, 2])))
    found, _, applied = load(store)
    assert found is not None
    assert (found.dump(), applied) == (machine.dump(), 12)
    store.close()
