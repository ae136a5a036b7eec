"""The state as one process has it: kept current from the store, changed through it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from serve.state.history import SNAPSHOT_EVERY, damaged, keep_short, load
from serve.state.machine import StateMachine
from serve.state.records import (
    NO_EXPERIMENT,
    ExperimentRecord,
    ModelRecord,
    Record,
    ServingRecord,
    entry_of,
    record_of,
)
from serve.state.store import (
    ConflictError,
    DamagedError,
    Head,
    Store,
    StoredRecord,
    StoreError,
    record_hash,
)
from serve.state.total import NO_LIMITS, TotalLimits

_LOG = logging.getLogger(__name__)


class SharedState:
    """The state machine of this process and the store that it follows.

    All methods run on one thread or event loop; only the store's writes run beside it.

    Args:
        store: open; the first record is written if it is empty.
        given: the bundles that the service was started with, one for each symbol.
        limits: over the sum of their accounts.
        experiment: the challengers.

    Raises:
        DamagedError: the store does not hold what was written to it.
        StoreError: it cannot be read or written.
        ServiceError: a bundle is for another market than the state.
    """

    def __init__(
        self,
        store: Store,
        *given: ModelRecord,
        limits: TotalLimits = NO_LIMITS,
        experiment: ExperimentRecord = NO_EXPERIMENT,
    ) -> None:
        self.store = store
        self._broken: str | None = None
        machine, self._head, replayed = load(store)
        while machine is None:
            with suppress(ConflictError):  # another replica was first
                store.append(0, [entry_of(given[0])])
            machine, self._head, replayed = load(store)
        self.machine: StateMachine = machine
        serving = ServingRecord(tuple(model.symbol for model in given), limits)
        while (record := machine.check_launch(given, serving, experiment)) is not None:
            with suppress(ConflictError):
                store.append(self._head.sequence, [entry_of(record)])
            self.refresh()
        self._due = False  # whether this process has to write a snapshot
        if replayed >= SNAPSHOT_EVERY:
            keep_short(store, self._head, machine.dump())  # the next start need not apply them

    @property
    def broken(self) -> bool:
        """Whether only a new start of this process can help."""
        return self._broken is not None

    def refresh(self) -> bool:
        """Apply what is new in the store; return whether anything was.

        Raises:
            StoreError: the store cannot be read; or what it says cannot be, once and for all.
        """
        if self._broken is not None:
            raise StoreError(self._broken)
        try:
            version = self.store.version()
            if version == self._head.sequence:
                return False
            if version < self._head.sequence:
                raise DamagedError(f"it went back from {self._head.sequence} to {version}")
            for stored in self.store.read_after(self._head.sequence):
                self._apply(stored)
            if self._head.sequence < version:
                raise DamagedError(f"record {self._head.sequence + 1} is missing")
        except StoreError:
            raise
        except Exception as error:
            # half of a record may be applied: nothing that follows can be trusted
            if isinstance(error, DamagedError):
                error = damaged(self.store, error)
            self._broken = str(error) or type(error).__name__
            _LOG.exception("the state cannot be followed any more")
            raise StoreError(self._broken) from error
        return True

    async def write(self, check: Callable[[], Record | None]) -> bool:
        """Append the record that ``check`` returns for the state as it is; return whether any.

        ``check`` is asked again when another process has written first. What it raises, this does.

        Raises:
            StoreError: the store cannot be read or written.
        """
        while True:
            self.refresh()
            record = check()
            if record is None:
                return False
            before = self.machine.version
            try:
                await asyncio.to_thread(self.store.append, before, [entry_of(record)])
            except ConflictError:
                continue
            self.refresh()
            # whoever writes the last record of many writes the snapshot, no other replica
            self._due |= (before + 1) % SNAPSHOT_EVERY == 0
            return True

    async def keep_short(self) -> None:
        """Write a snapshot when one is due.

        Raises:
            StoreError: the store cannot be written.
        """
        if not self._due:
            return
        self._due = False
        head, data = self._head, self.machine.dump()
        await asyncio.to_thread(keep_short, self.store, head, data)

    def _apply(self, stored: StoredRecord) -> None:
        head = self._head
        found = record_hash(head.hash, stored.sequence, stored.kind, stored.key, bytes(stored.data))
        if stored.sequence != head.sequence + 1 or stored.hash != found:
            raise DamagedError(f"record {stored.sequence} does not follow record {head.sequence}")
        self.machine.apply(record_of(stored))
        self._head = Head(stored.sequence, stored.hash, head.archived, head.archived_hash)
