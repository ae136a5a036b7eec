"""What the commands of ``tactical state`` do: show, verify, restore, archive."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rllib_tactical.domain.decision.override import Control
from rllib_tactical.errors import UsageError
from serve.state.conversion import JOURNAL
from serve.state.history import Finding, check_image, load, restored
from serve.state.opening import FolderLock, is_remote, open_store
from serve.state.sqlite_store import FILE_NAME, HEAD_NAME, SqliteStore, set_aside
from serve.state.standing_order import StandingOrder
from serve.state.store import DamagedError, Image, Store

_FILES: Final = (FILE_NAME, HEAD_NAME, JOURNAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSummary:
    """What ``tactical state show`` tells; money in dollars, ``position`` in lots."""

    store: str
    records: int
    archived: int
    head: str
    snapshots: tuple[int, ...]
    symbol: str = ""
    bundle_id: str = ""
    bundle_path: str = ""
    launched_with: str = ""
    override: Control = Control.NONE
    standing_order: str | None = None
    bars: int = 0
    trades: int = 0
    position: float = 0.0
    equity: float = 0.0
    halted: bool = False


def find_state(where: str) -> str:
    """Return the name of the one state at ``where``, see ``open_store``.

    Raises:
        UsageError: there is none, or there are several.
    """
    if is_remote(where):
        if "#" not in where:
            raise UsageError(f"--state must end with # and the symbol, found {where}")
        return where
    folder = Path(where)
    if _holds_state(folder):
        return str(folder.resolve())
    found = [child for child in sorted(folder.glob("*")) if _holds_state(child)]
    if len(found) != 1:
        names = ", ".join(child.name for child in found) or "none"
        raise UsageError(f"--state must hold the state of one symbol, found {names}: {where}")
    return str(found[0].resolve())


def show_state(name: str) -> StateSummary:
    """Return what the state is now; a service may be using it.

    Raises:
        DamagedError: see ``history.load``.
        StoreError: it cannot be read.
    """
    store = open_store(name)
    try:
        machine, head, _ = load(store)
        image = store.image()
    finally:
        store.close()
    told = {
        "store": store.name,
        "records": head.sequence,
        "archived": head.archived,
        "head": head.hash,
        "snapshots": tuple(snapshot.sequence for snapshot in image.snapshots),
    }
    if machine is None:
        return StateSummary(**told)  # type: ignore[arg-type]
    snapshot = machine.snapshot()
    order = None
    if store.local:
        standing = StandingOrder(Path(name))
        given = standing.read()
        standing.close()
        order = None if given is None else given.action
    return StateSummary(
        **told,  # type: ignore[arg-type]
        symbol=machine.instrument.symbol,
        bundle_id=machine.model.bundle_id,
        bundle_path=machine.model.path,
        launched_with=machine.launched,
        override=machine.control,
        standing_order=order,
        bars=0 if snapshot.market is None else snapshot.market.bars,
        trades=len(machine.trades),
        position=snapshot.account.side * snapshot.account.quantity,
        equity=snapshot.account.equity,
        halted=snapshot.account.halted,
    )


def verify_state(name: str) -> tuple[Image, Finding | None]:
    """Return all that a store holds, and the first thing that is wrong with it.

    Raises:
        DamagedError: it cannot be opened for what it is.
        StoreError: it cannot be read.
    """
    store = open_store(name)
    try:
        image = store.image(archives=True)
        return image, check_image(image)
    finally:
        store.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Restoration:
    """What a restoration does or would do; ``kept`` is where the damaged store is then."""

    found: Finding | None
    before: int
    records: int
    kept: str | None = None


def restore_state(name: str, copy: str | None = None, write: bool = False) -> Restoration:
    """Replace a store by what of it is whole, or by what of a copy is; no service may use it.

    Args:
        name: of the store.
        copy: of the store to take instead.
        write: otherwise nothing is changed, and only what would be is returned.

    Raises:
        DamagedError: nothing can be made of it.
        ServiceError: a service is using it.
    """
    lock = None if is_remote(name) else FolderLock(Path(name), alone=True)
    try:
        image = _image_of(copy or name)
        whole, found = restored(image)
        result = Restoration(found=found, before=image.head.sequence, records=whole.head.sequence)
        if not write or (found is None and copy is None):
            return result
        kept = _replace(name, whole)
        return Restoration(found=found, before=result.before, records=result.records, kept=kept)
    finally:
        if lock is not None:
            lock.release()


def archive_state(name: str, keep: int) -> int:
    """Move all but the last ``keep`` records to the archive, as far as a snapshot covers them.

    Raises:
        DamagedError: the state is damaged.
        StoreError: it cannot be read or written.
    """
    store = open_store(name)
    try:
        load(store)  # nothing damaged is archived
        snapshot = store.latest_snapshot()
        if snapshot is None:
            return 0
        return store.archive(min(snapshot.sequence, store.head().sequence - keep))
    finally:
        store.close()


def _holds_state(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _FILES)


def _image_of(name: str) -> Image:
    store = open_store(name)
    try:
        return store.image(archives=True)
    finally:
        store.close()


def _replace(name: str, image: Image) -> str:
    store: Store
    try:
        store = open_store(name)
    except DamagedError:  # it cannot even be opened
        kept = set_aside(Path(name))
        made = SqliteStore(Path(name))
        made.fill(image)
        made.close()
        return str(kept)
    try:
        return store.replace(image)
    finally:
        store.close()
