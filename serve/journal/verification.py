"""Whether every decision of a journal can be read, and recomputed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from serve.journal.record import decision_of, input_of
from serve.journal.replay import find_bundle
from serve.state.history import check_image
from serve.state.opening import is_remote, journal_name, open_store
from serve.state.records import ExperimentRecord, ModelRecord, record_of
from serve.state.sqlite_store import FILE_NAME
from serve.state.store import DamagedError, Image, StoredRecord, unpack


@dataclass(frozen=True, slots=True)
class JournalCheck:
    """What a journal holds, and what is wrong with it, one line each."""

    decisions: int
    archived: int
    bundles: int
    problems: tuple[str, ...]


def has_journal(name: str) -> bool:
    """Return whether there is a journal beside the state that ``name`` names."""
    if not is_remote(name):
        return (Path(journal_name(name)) / FILE_NAME).is_file()
    journal = open_store(journal_name(name))
    try:
        return journal.head().sequence > 0
    finally:
        journal.close()


def verify_journal(name: str, bundles: Sequence[Path] = ()) -> JournalCheck:
    """Check the chain of a journal, every decision in it, and what its recomputation needs.

    Args:
        name: of the state, from ``find_state``.
        bundles: folders to look for bundles in first.

    Raises:
        DamagedError: it cannot be opened for what it is.
        StoreError: it cannot be read.
    """
    journal = _image_of(journal_name(name))
    found = check_image(journal)
    problems = [] if found is None else [f"{found.problem}; whole up to record {found.whole}"]
    state = _image_of(name)
    decided_by: dict[str, int] = {}
    for stored in _records(journal):
        try:
            decision = decision_of(stored)
            if decision.matrix is not None:
                input_of(decision)
            bundle_id = str(decision.answered["bundle_id"])
        except (DamagedError, KeyError, TypeError) as error:
            problems.append(f"decision record {stored.sequence} cannot be read: {error}")
            continue
        decided_by[bundle_id] = decided_by.get(bundle_id, 0) + 1
        if stored.key != decision.decision_id:
            problems.append(f"decision record {stored.sequence} is not under its own id")
        if decision.state_version > state.head.sequence:
            problems.append(
                f"decision record {stored.sequence} is on version {decision.state_version} of the "
                f"state, which ends with {state.head.sequence}"
            )
    paths: dict[str, list[Path]] = {}
    for stored in _records(state):
        record = record_of(stored)
        if isinstance(record, ExperimentRecord):
            for each in record.challengers:
                paths.setdefault(each.bundle_id, []).append(Path(each.path))
        if isinstance(record, ModelRecord):
            paths.setdefault(record.bundle_id, []).append(Path(record.path))
    problems += [
        f"{count} decisions cannot be recomputed: bundle {bundle_id} is nowhere, name its folder "
        "by --bundle"
        for bundle_id, count in decided_by.items()
        if find_bundle(name, bundle_id, paths, bundles) is None
    ]
    head = journal.head
    return JournalCheck(head.sequence, head.archived, len(decided_by), tuple(problems))


def _image_of(name: str) -> Image:
    store = open_store(name)
    try:
        return store.image(archives=True)
    finally:
        store.close()


def _records(image: Image) -> Iterator[StoredRecord]:
    return chain(*map(unpack, image.archives), image.records)
