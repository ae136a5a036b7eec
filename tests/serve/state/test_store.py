"""What every store does, on SQLite and on a real Valkey server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from serve.state.store import (
    GENESIS,
    ConflictError,
    Entry,
    Head,
    Store,
    StoredSnapshot,
    record_hash,
    records_after,
    unpack,
)
from tests.serve.state.stores import KINDS, any_store, entries, reopened


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with any_store(request.param, tmp_path) as made:
        yield made


def test_the_hash_covers_all_of_a_record_and_the_one_before() -> None:
    known = record_hash(GENESIS, 1, "state", None, b"{}")
    assert len(known) == 64
    others = {
        record_hash(known, 1, "state", None, b"{}"),
        record_hash(GENESIS, 2, "state", None, b"{}"),
        record_hash(GENESIS, 1, "decision", None, b"{}"),
        record_hash(GENESIS, 1, "state", "", b"{}"),
        record_hash(GENESIS, 1, "state", "{", b"}"),
        record_hash(GENESIS, 1, "state", None, b"{ }"),
    }
    assert len(others - {known}) == 6


def test_what_is_appended_is_read_by_every_connection(store: Store) -> None:
    assert (store.version(), store.head(), store.read_after(0)) == (0, Head(), [])
    other = reopened(store)
    made = store.append(0, entries(3))
    assert [record.sequence for record in made] == [1, 2, 3]
    assert [bytes(record.data) for record in made] == [entry.data for entry in entries(3)]
    assert other.version() == 3
    assert other.append(3, entries(2, 3))[-1].hash == store.head().hash
    assert store.version() == 5
    assert store.read_after(2) == [made[2], *other.read_after(3)]
    assert store.read_after(5) == []
    other.close()


def test_who_comes_second_is_refused_and_changes_nothing(store: Store) -> None:
    store.append(0, entries(2))
    before = store.image()
    for expected in (0, 1, 3):
        with pytest.raises(ConflictError, match="record 2 is the last"):
            store.append(expected, entries(1))
    assert store.image() == before


def test_an_entry_whose_key_is_there_is_left_out(store: Store) -> None:
    order = Entry("decision", b'{"order": 1}', "decision-1")
    store.append(0, [*entries(1), order])
    made = store.append(2, [order, *entries(1, 1), Entry("decision", b"{}", "decision-2")])
    assert [(record.kind, record.key) for record in made] == [
        ("state", None),
        ("decision", "decision-2"),
    ]
    assert store.append(4, [order]) == []
    assert store.version() == 4


def test_writers_at_once_lose_nothing(store: Store) -> None:
    each, writers = 30, 4

    def write(number: int) -> None:
        mine = reopened(store)
        for i in range(each):
            while True:
                try:
                    mine.append(mine.version(), [Entry("state", b'"%d-%d"' % (number, i))])
                    break
                except ConflictError:
                    continue
        mine.close()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records = store.read_after(0)
    assert [record.sequence for record in records] == list(range(1, each * writers + 1))
    found = {bytes(record.data) for record in records}
    assert found == {b'"%d-%d"' % (n, i) for n in range(writers) for i in range(each)}
    for number in range(writers):  # each writer's own records are in its order
        own = [bytes(r.data) for r in records if bytes(r.data).startswith(b'"%d-' % number)]
        assert own == [b'"%d-%d"' % (number, i) for i in range(each)]


def test_the_newest_whole_snapshot_of_a_record_here_is_taken(store: Store) -> None:
    assert store.latest_snapshot() is None
    made = store.append(0, entries(4))
    for n, record in enumerate(made[:3], start=1):
        store.write_snapshot(StoredSnapshot.of(n, record.hash, b"%d" % n))
    assert [snapshot.sequence for snapshot in store.image().snapshots] == [2, 3]
    assert store.latest_snapshot() == StoredSnapshot.of(3, made[2].hash, b"3")
    foreign = StoredSnapshot.of(4, "0" * 64, b"another history")
    store.write_snapshot(foreign)
    assert store.latest_snapshot() == StoredSnapshot.of(3, made[2].hash, b"3")
    store.write_snapshot(StoredSnapshot(4, made[3].hash, "0" * 64, b"altered"))
    assert store.latest_snapshot() == StoredSnapshot.of(3, made[2].hash, b"3")


def test_archived_records_are_out_of_the_way_and_not_lost(store: Store) -> None:
    made = store.append(0, [*entries(5), Entry("decision", b"{}", "key")])
    other = reopened(store)
    assert other.version() == 6
    assert store.archive(4) == 4
    assert (store.archive(4), store.archive(0)) == (0, 0)
    assert store.head() == Head(6, made[5].hash, 4, made[3].hash)
    assert other.read_after(5) == made[5:]
    assert store.read_after(0) == made[4:]
    assert store.append(6, [Entry("decision", b"{}", "key")]) == []  # still known
    store.write_snapshot(StoredSnapshot.of(4, made[3].hash, b"at the archive's end"))
    assert store.latest_snapshot() is not None
    assert store.archive(6) == 2
    archives = store.image(archives=True).archives
    assert [(archive.first, archive.last) for archive in archives] == [(1, 4), (5, 6)]
    assert [record for archive in archives for record in unpack(archive)] == made
    assert store.read_after(3) == []
    for sequence in (0, 3, 6):
        assert list(records_after(store, sequence)) == made[sequence:]
    assert store.image().archives == []
    assert store.append(6, entries(1))[0].sequence == 7
    other.close()


def test_a_store_is_replaced_and_the_old_one_is_kept(store: Store) -> None:
    store.append(0, [*entries(5), Entry("decision", b"{}", "key")])
    store.archive(2)
    image = store.image(archives=True)
    for number in (1, 2):
        kept = store.replace(image)
        assert f"damaged-{number}" in kept
    again = reopened(store)
    found = again.image(archives=True)
    assert (found.head, found.records, found.archives) == (
        image.head,
        image.records,
        image.archives,
    )
    assert again.append(6, [Entry("decision", b"{}", "key")]) == []
    again.close()


def test_a_probe_changes_no_record(store: Store) -> None:
    store.append(0, entries(1))
    store.probe()
    assert store.version() == 1
