"""What the commands of ``tactical state`` do: show, verify, restore, archive."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from rllib_tactical.domain.decision.override import Control
from rllib_tactical.errors import UsageError
from serve.state.history import Finding, check_image, load, restored
from serve.state.machine import StateMachine
from serve.state.opening import FolderLock, is_remote, open_store, store_name
from serve.state.places import holds_state, shared_name
from serve.state.sqlite_store import SqliteStore, set_aside
from serve.state.standing_order import StandingOrders
from serve.state.store import DamagedError, Image, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolSummary:
    """What ``tactical state show`` tells of a symbol; money in dollars, ``position`` in lots.

    ``served``: whether the service was last started with a bundle for it.
    """

    symbol: str
    bundle_id: str
    bundle_path: str
    launched_with: str
    override: Control
    standing_order: str | None
    bars: int
    trades: int
    position: float
    equity: float
    halted: bool
    served: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSummary:
    """What ``tactical state show`` tells; ``total_equity`` of all symbols in dollars."""

    store: str
    records: int
    archived: int
    head: str
    snapshots: tuple[int, ...]
    total_equity: float = 0.0
    total_halted: bool = False
    symbols: tuple[SymbolSummary, ...] = ()


def find_state(where: str, symbol: str | None = None) -> str:
    """Return the name of the one state at ``where``, see ``open_store``.

    Args:
        where: the folder of a state, the folder around several, or a server's URL.
        symbol: which of several.

    Raises:
        UsageError: there is none, or there are several.
        StoreError: the server cannot be reached.
    """
    own = None if symbol is None else store_name(where, symbol)
    if is_remote(where):
        if "#" in where:
            return where
        if own is None:
            raise UsageError(f"--state must end with # and the symbol, found {where}")
        return own if holds_state(own) else shared_name(where)
    for name in (own, shared_name(where)):
        if name is not None and holds_state(name):
            return name
    found = [child for child in sorted(Path(where).glob("*")) if holds_state(str(child))]
    if len(found) != 1:
        names = ", ".join(child.name for child in found) or "none"
        raise UsageError(f"--state must hold the state of one symbol, found {names}: {where}")
    return str(found[0].resolve())


def show_state(name: str, symbol: str | None = None) -> StateSummary:
    """Return what the state is now, of one symbol or of all; a service may be using it.

    Raises:
        UsageError: the symbol is not in the state.
        DamagedError: see ``history.load``.
        StoreError: it cannot be read.
    """
    store = open_store(name)
    try:
        machine, head, _ = load(store)
        image = store.image()
    finally:
        store.close()
    told = StateSummary(
        store=store.name,
        records=head.sequence,
        archived=head.archived,
        head=head.hash,
        snapshots=tuple(snapshot.sequence for snapshot in image.snapshots),
    )
    if machine is None:
        return told
    if symbol is not None and symbol not in machine.symbols:
        known = ", ".join(machine.symbols)
        raise UsageError(f"--symbol must be one of {known}, found {symbol}")
    chosen = machine.symbols if symbol is None else (symbol,)
    orders = StandingOrders(Path(name), machine.served) if store.local else None
    summaries = tuple(_summary(machine, each, orders) for each in chosen)
    if orders is not None:
        orders.close()
    return replace(
        told,
        total_equity=machine.total.equity,
        total_halted=machine.total.halted,
        symbols=summaries,
    )


def _summary(machine: StateMachine, symbol: str, orders: StandingOrders | None) -> SymbolSummary:
    own, snapshot = machine.symbols[symbol], machine.snapshot(symbol)
    order = None if orders is None else orders.read(symbol)
    return SymbolSummary(
        symbol=symbol,
        bundle_id=own.model.bundle_id,
        bundle_path=own.model.path,
        launched_with=own.launched,
        override=own.control,
        standing_order=None if order is None else order.action,
        bars=0 if snapshot.market is None else snapshot.market.bars,
        trades=len(own.trades),
        position=snapshot.account.side * snapshot.account.quantity,
        equity=snapshot.account.equity,
        halted=snapshot.account.halted,
        served=symbol in machine.served,
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
