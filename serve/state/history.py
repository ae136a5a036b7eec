"""Check, load, archive and restore what a store holds."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from msgspec.structs import replace

from rllib_tactical.errors import ServiceError
from serve.state.machine import StateMachine
from serve.state.records import ModelRecord, record_of
from serve.state.store import (
    Archive,
    DamagedError,
    Head,
    Image,
    Store,
    StoredRecord,
    StoredSnapshot,
    after,
    record_hash,
    unpack,
)

_LOG = logging.getLogger(__name__)
SNAPSHOT_EVERY: Final = 200
"""Records after which the state is written again: a start applies no more than these."""

LIVE_RECORDS: Final = 5_000
"""Records that stay out of the archive at least; twice as many are there at most."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, and through which record everything is whole."""

    problem: str
    whole: int


def check_image(image: Image) -> Finding | None:
    """Return the first thing that is wrong with a store's records, None when nothing is.

    Archives are checked as far as the image has them.
    """
    head = image.head
    archived = _check_archives(image.archives, head) if image.archives else None
    if archived is not None:
        return archived
    previous, sequence = head.archived_hash, head.archived
    by_sequence = {sequence: previous}
    for record in image.records:
        if record.sequence != sequence + 1:
            return Finding(_out_of_place(record.sequence, sequence), sequence)
        data = bytes(record.data)
        if record.hash != record_hash(previous, record.sequence, record.kind, record.key, data):
            return Finding(f"record {record.sequence} is not what was written", sequence)
        previous, sequence = record.hash, record.sequence
        by_sequence[sequence] = previous
    if sequence < head.sequence:
        return Finding(f"records {sequence + 1} to {head.sequence} are missing", sequence)
    if sequence > head.sequence or previous != head.hash:
        return Finding(
            f"the head says that record {head.sequence} is the last, found {sequence}",
            min(sequence, head.sequence),
        )
    known = image.known
    if known is None or known.sequence < head.archived:
        return None
    if known.sequence > sequence:
        return Finding(
            f"records {sequence + 1} to {known.sequence}, which the head file names, are missing",
            sequence,
        )
    if by_sequence[known.sequence] != known.hash:
        return Finding(f"record {known.sequence} is not the one that the head file names", sequence)
    return None


def _out_of_place(found: int, before: int) -> str:
    if found <= before:
        return f"record {found} is there twice"
    missing = str(before + 1) if found == before + 2 else f"{before + 1} to {found - 1}"
    return f"record {missing} is missing"


def _check_archives(archives: Sequence[Archive], head: Head) -> Finding | None:
    start = Head()
    for archive in archives:
        records = unpack(archive)
        ended = Head(records[-1].sequence, records[-1].hash, start.sequence, start.hash)
        found = check_image(Image(ended, records, [], []))
        if found is not None:
            return Finding(
                f"archive {archive.first}-{archive.last}: {found.problem}", head.sequence
            )
        start = Head(ended.sequence, ended.hash)
    if (start.sequence, start.hash) != (head.archived, head.archived_hash):
        return Finding(f"the archive does not end with record {head.archived}", head.sequence)
    return None


def load(store: Store) -> tuple[StateMachine | None, Head, int]:
    """Return the state that a store holds, None while it is empty; its head; the records applied.

    Raises:
        DamagedError: it does not hold what was written; the message names what to do.
        StoreError: it cannot be read.
    """
    try:
        image = store.image()
        found = check_image(image)
        if found is not None:
            raise DamagedError(found.problem)
        if not image.head.sequence:
            return None, image.head, 0
        machine, start = _from_snapshot(store.latest_snapshot(), image)
        records = image.records
        if machine is None and image.head.archived:
            archived = [unpack(archive) for archive in store.image(archives=True).archives]
            records = [record for part in [*archived, records] for record in part]
        new = [record for record in records if record.sequence > start]
        for record in new:
            machine = _applied(machine, record)
        return machine, image.head, len(new)
    except DamagedError as error:
        raise damaged(store, error) from error


def damaged(store: Store, error: DamagedError) -> DamagedError:
    """Return the error with the store's name and the commands that help."""
    return DamagedError(
        f"the state in {store.name} is damaged: {error}. `tactical state verify --state "
        f"{store.name}` says more, `tactical state restore --state {store.name}` keeps what is "
        "whole or takes a copy"
    )


def _from_snapshot(
    snapshot: StoredSnapshot | None, image: Image
) -> tuple[StateMachine | None, int]:
    if snapshot is None:
        return None, 0
    try:
        machine = StateMachine.load(snapshot.data)
    except ServiceError as error:  # a snapshot only saves time
        _LOG.warning("%s: all records are applied instead", error)
        return None, 0
    if machine.version != snapshot.sequence:
        raise DamagedError(f"the snapshot of record {snapshot.sequence} is of {machine.version}")
    return machine, snapshot.sequence


def _applied(machine: StateMachine | None, stored: StoredRecord) -> StateMachine:
    record = record_of(stored)
    if machine is not None:
        machine.apply(record)
        return machine
    if not isinstance(record, ModelRecord):
        raise DamagedError(f"record {stored.sequence} must name a bundle")
    return StateMachine(record)


def keep_short(store: Store, head: Head, data: bytes) -> None:
    """Write a snapshot of the state at ``head``, and archive what two snapshots cover.

    Raises:
        StoreError: the store cannot be written.
    """
    store.write_snapshot(StoredSnapshot.of(head.sequence, head.hash, data))
    if head.sequence - store.head().archived > 2 * LIVE_RECORDS:
        moved = store.archive(head.sequence - LIVE_RECORDS)
        _LOG.info("%d records archived", moved)


def restored(image: Image) -> tuple[Image, Finding | None]:
    """Return what of an image is whole, and what was found wrong with it.

    Raises:
        DamagedError: an archive is damaged, and no snapshot is left to begin with.
    """
    found = check_image(replace(image, archives=[]))
    whole = image.head.sequence if found is None else found.whole
    records = [record for record in image.records if record.sequence <= whole]
    # a record that is there twice comes after its first copy
    if records:
        whole_run = 1 + next(
            (i for i, (a, b) in enumerate(pairwise(records)) if b.sequence != a.sequence + 1),
            len(records) - 1,
        )
        records = records[:whole_run]
    base = Head(
        image.head.archived, image.head.archived_hash, image.head.archived, image.head.archived_hash
    )
    head = after(base, records)
    hashes = {head.archived: head.archived_hash} | {r.sequence: r.hash for r in records}
    snapshots = [
        snapshot
        for snapshot in image.snapshots
        if snapshot.whole and hashes.get(snapshot.sequence) == snapshot.hash
    ]
    archives = _check_archives(image.archives, head) if image.archives else None
    if archives is not None and not snapshots:
        raise DamagedError(archives.problem)
    return Image(head, records, snapshots, image.archives), found or archives
