"""Writes decisions to the journal: an order before it leaves, holds in batches afterwards."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from serve.decision.decider import Decided
from serve.journal.record import Caller, decision_entry
from serve.state.store import ConflictError, Entry, Store, StoreError

_LOG = logging.getLogger(__name__)
QUEUE: Final = 4_096
"""Holds that may wait to be written; more are lost, and counted."""

BATCH: Final = 64
"""Holds in one write: an order waits for one of these at most."""

FLUSH_S: Final = 0.5
"""How often waiting holds are written."""

LIVE_DECISIONS: Final = 2_000
"""Decisions that stay out of the archive at least; twice as many are there at most."""

MAX_BYTES: Final = 2 << 30
"""Size of the journal above which holds are no longer kept; orders always are."""

STOP_S: Final = 5.0
"""How long the end of the service waits for the store."""

ResultT = TypeVar("ResultT")
_KNOWN: Final = 4_096
_LOSS_SHOWN_S: Final = 3_600.0


@dataclass(frozen=True, slots=True)
class JournalHealth:
    """Decisions that wait to be written, those lost since the start, and the latest failure.

    ``failure`` is None when the last write succeeded; ``recent``: some were lost within the hour.
    """

    waiting: int
    lost: int
    failure: str | None
    recent: bool


@dataclass(frozen=True, slots=True)
class _Kept:
    decided: Decided
    state_version: int
    caller: Caller


class DecisionRecorder:
    """Keeps the decisions of one process. All methods run on one event loop.

    A decision whose id is in the journal is not written again: repeats of a request are one record.

    Args:
        store: the journal; it has no other records.
        monotonic: seconds that only grow.
        max_bytes: see ``MAX_BYTES``.
    """

    def __init__(
        self,
        store: Store,
        monotonic: Callable[[], float] = time.monotonic,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._store, self._monotonic, self._max_bytes = store, monotonic, max_bytes
        self._holds: deque[_Kept] = deque()
        self._orders: list[tuple[_Kept, asyncio.Future[None]]] = []
        self._known: OrderedDict[str, None] = OrderedDict()
        self._lost, self._lost_at = 0, -_LOSS_SHOWN_S
        self._failure: str | None = None
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "journal")
        self._ended = False
        self._task: asyncio.Task[None] | None = None
        self._tried_at = monotonic()

    def start(self) -> None:
        """Begin to write what waits."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Write what waits, as far as the store takes it, and end."""
        self._ended = True
        self._wake.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=STOP_S)
        self._thread.shutdown(wait=False)

    @property
    def health(self) -> JournalHealth:
        """How the journal is."""
        recent = self._monotonic() - self._lost_at < _LOSS_SHOWN_S
        return JournalHealth(len(self._holds), self._lost, self._failure, recent)

    def keep(self, decided: Decided, state_version: int, caller: Caller) -> None:
        """Have a decision without an order written soon; the caller does not wait for it."""
        if decided.answer.decision_id in self._known:
            return
        if len(self._holds) >= QUEUE:
            self._lose(1, f"{QUEUE} decisions wait already")
            return
        self._holds.append(_Kept(decided, state_version, caller))
        if len(self._holds) == BATCH:
            self._wake.set()

    async def secure(self, decided: Decided, state_version: int, caller: Caller) -> None:
        """Return once a decision is durable.

        Raises:
            StoreError: it cannot be written.
        """
        if decided.answer.decision_id in self._known:
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._orders.append((_Kept(decided, state_version, caller), done))
        self._wake.set()
        await done

    async def _run(self) -> None:
        while self._orders or not self._ended:
            if not self._orders and not self._ended:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), FLUSH_S)
            self._wake.clear()
            await self._write_orders()
            now = self._monotonic()
            if now - self._tried_at >= FLUSH_S or len(self._holds) >= BATCH:
                self._tried_at = now
                await self._write_holds()
        await self._write_holds()
        if self._holds:
            self._lose(len(self._holds), "the service ends")

    async def _write_orders(self) -> None:
        # one that no longer waits has been answered with a hold
        waiting = [(kept, done) for kept, done in self._orders if not done.done()]
        self._orders.clear()
        failed: StoreError | None = None
        try:
            await self._write([kept for kept, _ in waiting])
        except StoreError as error:
            failed = error
        except Exception as error:
            _LOG.exception("an order was not written")
            failed = StoreError(f"an order was not written: {error}")
        for _, done in waiting:
            if done.done():
                continue
            if failed is None:
                done.set_result(None)
            else:
                done.set_exception(failed)
        if failed is not None:
            self._failure = str(failed)

    async def _write_holds(self) -> None:
        """Write what waits, batch by batch, until an order comes or the store fails."""
        while self._holds and not self._orders:
            batch = [self._holds.popleft() for _ in range(min(BATCH, len(self._holds)))]
            try:
                if await self._in_thread(self._full):
                    self._lose(len(batch), f"the journal is larger than {self._max_bytes} bytes")
                else:
                    await self._write(batch)
            except StoreError as error:
                if self._failure is None:
                    _LOG.error("decisions cannot be written: %s", error)
                self._failure = str(error)
                self._holds.extendleft(reversed(batch))
                return
            except Exception as error:
                _LOG.exception("decisions were not written")
                self._lose(len(batch), str(error))

    async def _write(self, batch: Sequence[_Kept]) -> None:
        if not batch:
            return
        await self._in_thread(partial(self._append, batch))
        self._failure = None
        for kept in batch:
            self._known[kept.decided.answer.decision_id] = None
        while len(self._known) > _KNOWN:
            self._known.popitem(last=False)

    def _append(self, batch: Sequence[_Kept]) -> None:
        entries: dict[str | None, Entry] = {}
        for kept in batch:
            entry = decision_entry(kept.decided, kept.state_version, kept.caller)
            entries.setdefault(entry.key, entry)
        while True:
            head = self._store.head()
            with suppress(ConflictError):  # another replica was first
                self._store.append(head.sequence, list(entries.values()))
                break

    def _full(self) -> bool:
        """Archive what is old; return whether the journal is as large as it may be."""
        head = self._store.head()
        if head.sequence - head.archived > 2 * LIVE_DECISIONS:
            self._store.archive(head.sequence - LIVE_DECISIONS)
        return self._store.size() > self._max_bytes

    def _lose(self, count: int, why: str) -> None:
        if not self.health.recent:
            _LOG.error("decisions are lost to the journal: %s", why)
        self._lost += count
        self._lost_at = self._monotonic()

    async def _in_thread(self, work: Callable[[], ResultT]) -> ResultT:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
