"""Reads the bus for one process of the service: bars and fills to the state, events to orders."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from serve.api.health import Alert, HealthAnswer
from serve.api.streams import BARS, FILLS, SYNERGIES, AlertMessage, Stream
from serve.bus.entries import Answered, EntryAnswers
from serve.bus.redis_bus import BusError, Entry, Lease, LeaseLostError, RedisBus
from serve.bus.status import BusFigures, BusSettings, BusStatus
from serve.decision.controller import UNTIMELY, Controller
from serve.decision.decider import Decided

_LOG = logging.getLogger(__name__)
BATCH: Final = 64
"""Entries of a stream in one read."""

BLOCK_S: Final = 0.5
FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 2.0
TIDY_EVERY_S: Final = 60.0
ALERTS_EVERY_S: Final = 5.0
DEAD_SHOWN_S: Final = 3_600.0
_ALL: Final = (BARS, FILLS, SYNERGIES)
_UNTIMELY: Final = {reason.code for reason in UNTIMELY}


class BusConsumer:
    """Takes what the bus brings to the controller, and writes what comes of it back.

    Args:
        settings: where the bus is.
        controller: decides and changes the state.
        health: returns how the service is now; its alerts are published as they change.
        count: called for each entry with its outcome, and the decision if there is one.
    """

    def __init__(
        self,
        settings: BusSettings,
        controller: Controller,
        health: Callable[[], Awaitable[HealthAnswer]],
        count: Callable[[str, Decided | None], None],
    ) -> None:
        name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self.bus = RedisBus(settings.url, name, settings.lease_s)
        self.answers = EntryAnswers(self.bus, controller)
        self.status = BusStatus()
        self._lease_s, self._health, self._count = settings.lease_s, health, count
        self._term = 0  # grows each time this process takes the lease
        self._to_claim: deque[Stream] = deque()  # where others may have left entries
        self._claimed = "0-0"
        self._waiting: list[Entry] = []  # read and not answered, oldest first
        self._horizon: tuple[int, int] | None = None  # entries after it may not be the next ones
        self._shown: list[Alert] = []
        self._dead_count: int | None = None
        self._dead_at = -DEAD_SHOWN_S
        self._tasks: list[asyncio.Task[None]] = []
        self._ended = False

    def start(self) -> None:
        """Begin to read, whether or not the server can be reached now."""
        self._tasks = [asyncio.create_task(self._tend()), asyncio.create_task(self._run())]

    async def stop(self) -> None:
        """Stop reading; what was not answered is another consumer's."""
        self._ended = True
        while any(not task.done() for task in self._tasks):
            for task in self._tasks:
                task.cancel()  # again: the client of the server swallows some
            await asyncio.wait(self._tasks, timeout=0.1)
        with suppress(BusError, TimeoutError):
            await asyncio.wait_for(self.bus.resign(), 1.0)
        await self.bus.close()

    async def _tend(self) -> None:
        """Keep the lease, or wait for it; look how the bus is."""
        tidied = alerted = -TIDY_EVERY_S
        while not self._ended:
            begun = time.monotonic()
            try:
                if self.status.unreachable is not None:
                    self._set(warning=await self.bus.prepare())
                lease = await self.bus.lead()
                if lease is Lease.TAKEN:
                    self._term += 1
                self._set(leads=lease is not Lease.OF_ANOTHER)
                self._look(await self.bus.figures())
                self._set(unreachable=None, took_s=time.monotonic() - begun)
                if self.status.leads and begun - alerted >= ALERTS_EVERY_S:
                    alerted = begun
                    await self._publish_alerts()
                if self.status.leads and begun - tidied >= TIDY_EVERY_S:
                    tidied = begun
                    await self.bus.tidy()
            except BusError as error:
                if self.status.unreachable is None:
                    _LOG.error("the bus cannot be used: %s", error)
                self._set(unreachable=str(error))
            except Exception:
                # whatever it is, the next round must come: else the lease lapses for good
                _LOG.exception("the bus was not tended")
            await asyncio.sleep(min(1.0, self._lease_s / 3))

    async def _run(self) -> None:
        """Read and answer while this process has the lease."""
        term, pause_s = 0, 0.0
        while not self._ended:
            if not self.status.leads:
                await asyncio.sleep(FIRST_PAUSE_S)
                continue
            if term != self._term:
                term, self._claimed = self._term, "0-0"
                self._waiting, self._horizon = [], None
                self._to_claim = deque(_ALL)
            try:
                done = await self._step()
                self._set(refused=None)
            except LeaseLostError as error:
                _LOG.warning("%s", error)
                self._set(leads=False)
                continue
            except BusError as error:
                if self.status.refused is None:
                    _LOG.error("the bus does not take what it is given: %s", error)
                self._set(refused=str(error))
                # the server may have given entries of which this process never heard
                self._to_claim, self._claimed = deque(_ALL), "0-0"
                done = False
            except Exception:
                # they stay pending and are read again after a pause; the reader must live on
                _LOG.exception("entries of the bus were not answered")
                done = False
            pause_s = 0.0 if done else min(2 * pause_s + FIRST_PAUSE_S, LONGEST_PAUSE_S)
            await asyncio.sleep(pause_s)

    async def _step(self) -> bool:
        """Read once and answer; return whether nothing has to be tried again later."""
        if self._to_claim and not self._waiting:
            stream = self._to_claim[0]
            self._claimed, entry = await self.bus.claim(stream, self._claimed)
            if self._claimed == "0-0":
                self._to_claim.popleft()
            if entry is not None:
                _LOG.info("%s of %s was left unanswered", entry.entry_id, stream.name)
                self._waiting = [entry]
        elif not self._waiting or self._horizon is not None:
            await self._read()
        return await self._answer()

    async def _read(self) -> None:
        found = await self.bus.read(BATCH, 0.0 if self._waiting else BLOCK_S)
        places: dict[str, list[tuple[int, int]]] = {}
        for entry in found:
            places.setdefault(entry.stream.name, []).append(entry.place)
        # what a stream still has may be older than what the others gave
        full = [of_stream[-1] for of_stream in places.values() if len(of_stream) >= BATCH]
        self._horizon = min(full, default=None)
        # in one millisecond what changes the state comes first
        self._waiting = sorted(
            [*self._waiting, *found], key=lambda e: (e.place[0], e.stream is SYNERGIES, e.place)
        )

    async def _answer(self) -> bool:
        """Answer what waits, in the order of time; return whether nothing was left for later."""
        while run := self._next():
            if run[0].stream is SYNERGIES:
                answered = await self.answers.events(run)
            else:
                change = await self.answers.change(run[0])
                answered = [] if change is None else [change]
            if answered:
                outcomes = await self.bus.settle([one.settlement for one in answered])
                for one, outcome in zip(answered, outcomes, strict=True):
                    self._note(one, outcome)
                done = {one.settlement.entry.key for one in answered}
                self._waiting = [e for e in self._waiting if e.key not in done]
            if len(answered) < len(run):
                return False
        return True

    def _next(self) -> list[Entry]:
        """Return the oldest entries that may be answered together: events, or one other entry."""
        run: list[Entry] = []
        for entry in self._waiting:
            if self._horizon is not None and entry.place > self._horizon:
                break
            if run and entry.stream is not SYNERGIES:
                break
            run.append(entry)
            if entry.stream is not SYNERGIES:
                break
        return run

    def _note(self, one: Answered, outcome: str) -> None:
        """Count what came of an entry."""
        settlement, decided = one.settlement, one.decided
        if outcome == "done" and settlement.event_id is None:
            outcome = "accepted" if settlement.dead is None else "dead"
        elif outcome == "done" and decided is not None:
            reason = decided.answer.decision.reason
            hold = reason.value if reason in _UNTIMELY else "hold"
            outcome = "order" if settlement.command is not None else hold
        if outcome in ("dead", "conflict", *_UNTIMELY):
            letter = settlement.dead
            entry = settlement.entry
            fields: dict[str, Any] = {"stream": entry.stream.name, "entry": entry.entry_id}
            if outcome in ("dead", "conflict") and letter is not None:
                fields |= {"code": letter.code, "message": letter.message}
            _LOG.warning("%s on the bus", outcome, extra={"fields": fields})
        self._count(outcome, decided if outcome not in ("repeat", "gone") else None)

    def _look(self, figures: BusFigures) -> None:
        now = time.monotonic()
        if self._dead_count is not None and figures.dead > self._dead_count:
            self._dead_at = now
        self._dead_count = figures.dead
        self._set(figures=figures, dead_recently=now - self._dead_at < DEAD_SHOWN_S)

    async def _publish_alerts(self) -> None:
        """Publish which alerts are new since the last time, and which are gone."""
        alerts, now_s = (await self._health()).alerts, time.time()
        before = {_kind(alert) for alert in self._shown}
        after = {_kind(alert) for alert in alerts}
        changes = [
            AlertMessage(change="cleared", issued_s=now_s, alert=alert)
            for alert in self._shown
            if _kind(alert) not in after
        ] + [
            AlertMessage(change="raised", issued_s=now_s, alert=alert)
            for alert in alerts
            if _kind(alert) not in before
        ]
        await self.bus.alert(changes)
        self._shown = alerts

    def _set(self, **changes: Any) -> None:
        self.status = replace(self.status, **changes)


def _kind(alert: Alert) -> tuple[str, str, str]:
    """Return what makes an alert the same one, whatever number is in it now."""
    words = [word for word in alert.message.split() if not any(c.isdigit() for c in word)]
    return alert.code, alert.severity, " ".join(words)
