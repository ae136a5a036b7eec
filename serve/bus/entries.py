"""What comes of the entries of the bus: each becomes a settlement, or has to wait."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from rllib_tactical.data.synergy_events import SynergyEvent
from rllib_tactical.domain.types import Reason
from serve.api.decide_request import MAX_BODY_BYTES
from serve.api.errors import RequestError
from serve.api.responses import ErrorAnswer
from serve.api.streams import (
    DATA,
    DECISION,
    WANT,
    CommandMessage,
    DeadLetter,
    DecisionMessage,
    decode_fields,
)
from serve.bus.redis_bus import Entry, RedisBus, Settlement, digest_of
from serve.decision.controller import UNTIMELY, Controller
from serve.decision.decider import Decided
from serve.journal.record import Caller

_LOG = logging.getLogger(__name__)
MAX_DELIVERIES: Final = 10
"""An entry during which the service ended so often is put with the dead letters."""

UNDELIVERABLE: Final = "undeliverable"
_NOT_NOW: Final = (Reason.STATE_UNAVAILABLE.code, Reason.MODEL_LOADING.code)
_UNTIMELY: Final = {reason.code for reason in UNTIMELY}
_UNAVAILABLE: Final = 503
_ERROR: Final = msgspec.json.Decoder(ErrorAnswer).decode


@dataclass(frozen=True, slots=True)
class Answered:
    """What comes of an entry; ``decided`` is the decision in it, if there is one."""

    settlement: Settlement
    decided: Decided | None = None


class EntryAnswers:
    """Answers entries with a controller; nothing is written to the bus here.

    Args:
        bus: asked which events are answered already.
        controller: decides and changes the state.
        clock: epoch time in seconds.
    """

    def __init__(
        self, bus: RedisBus, controller: Controller, clock: Callable[[], float] = time.time
    ) -> None:
        self.controller = controller
        self._bus, self._clock = bus, clock

    async def events(self, entries: Sequence[Entry]) -> list[Answered]:
        """Return what comes of some events, in their order; those that have to wait are left out.

        Raises:
            BusError: the bus cannot be asked.
        """
        found: dict[str, Answered] = {}
        read: dict[str, SynergyEvent] = {}
        for entry in entries:
            try:
                read[entry.entry_id] = self._read(entry)
            except RequestError as error:
                found[entry.entry_id] = Answered(self._dead(entry, error.code, error.message))
        ids = sorted({event.event_id for event in read.values()})
        known = set()
        if ids:
            marks = await self._bus.marks(ids)
            known = {event_id for event_id, mark in zip(ids, marks, strict=True) if mark}
        firsts: dict[str, Entry] = {}
        for entry in entries:
            if entry.entry_id in read:
                firsts.setdefault(read[entry.entry_id].event_id, entry)
        new = [entry for event_id, entry in firsts.items() if event_id not in known]
        answers = await asyncio.gather(*(self._decide(e, read[e.entry_id]) for e in new))
        waiting = set()
        for entry, answer in zip(new, answers, strict=True):
            if answer is None:
                waiting.add(read[entry.entry_id].event_id)
            else:
                found[entry.entry_id] = answer
        for entry in entries:
            event = read.get(entry.entry_id)
            if event is None or entry.entry_id in found or event.event_id in waiting:
                continue
            found[entry.entry_id] = Answered(self._repeat(entry, event))
        return [found[entry.entry_id] for entry in entries if entry.entry_id in found]

    async def change(self, entry: Entry) -> Answered | None:
        """Return what comes of bars or fills once they are durable; None when they have to wait."""
        try:
            request = self._read(entry)
            status, body = await self.controller.write(request)
        except RequestError as error:
            return Answered(self._dead(entry, error.code, error.message))
        except Exception:  # logged and a dead letter: it must not stop the entries behind it
            return Answered(self._defect(entry))
        if status == _UNAVAILABLE:
            return None
        if status >= 400:
            error_part = _ERROR(body).error
            return Answered(self._dead(entry, error_part.code, error_part.message))
        return Answered(Settlement(entry=entry))

    async def _decide(self, entry: Entry, event: SynergyEvent) -> Answered | None:
        caller = Caller(
            request_id=event.event_id[:128], address=f"bus {entry.stream.name} {entry.entry_id}"
        )
        try:
            decided = await self.controller.event(event, entry.received_s, caller)
        except RequestError as error:
            return Answered(self._dead(entry, error.code, error.message))
        except Exception:  # logged and a dead letter: it must not stop the entries behind it
            return Answered(self._defect(entry))
        decision = decided.answer.decision
        if decision.reason in _NOT_NOW:
            return None
        command, now_s = decision.execution_command, self._clock()
        wanted = entry.fields.get(WANT.encode()) == DECISION.encode()
        shown = wanted or decision.reason in _UNTIMELY
        settlement = Settlement(
            entry=entry,
            event_id=event.event_id,
            digest=digest_of(entry.fields),
            command=None
            if command is None
            else CommandMessage(event_id=event.event_id, issued_s=now_s, execution_command=command),
            decision=DecisionMessage(event_id=event.event_id, issued_s=now_s, answer=decided.answer)
            if shown
            else None,
            dead=self._conflict(entry, event),
        )
        return Answered(settlement, decided)

    def _read(self, entry: Entry) -> Any:
        """Return the message of an entry.

        Raises:
            RequestError: it cannot be read, or must not be tried again.
        """
        if entry.deliveries > MAX_DELIVERIES:
            text = f"read {entry.deliveries} times, and the service ended each time"
            raise RequestError(422, UNDELIVERABLE, text)
        size = len(entry.fields.get(DATA.encode(), b""))
        if size > MAX_BODY_BYTES:
            text = f"{DATA} must be at most {MAX_BODY_BYTES} bytes, found {size}"
            raise RequestError(413, "body_too_large", text, DATA)
        return decode_fields(entry.stream, entry.fields)

    def _repeat(self, entry: Entry, event: SynergyEvent) -> Settlement:
        """Return the settlement of an event that is answered: it says nothing new, or conflicts."""
        return Settlement(
            entry=entry,
            event_id=event.event_id,
            digest=digest_of(entry.fields),
            dead=self._conflict(entry, event),
        )

    def _conflict(self, entry: Entry, event: SynergyEvent) -> DeadLetter:
        text = f"event_id: {event.event_id} was used for another event"
        return self._letter(entry, "conflict", text)

    def _dead(self, entry: Entry, code: str, message: str) -> Settlement:
        return Settlement(entry=entry, dead=self._letter(entry, code, message))

    def _defect(self, entry: Entry) -> Settlement:
        _LOG.exception("%s of %s was not answered", entry.entry_id, entry.stream.name)
        return self._dead(entry, "internal_error", "the service failed; see its log")

    def _letter(self, entry: Entry, code: str, message: str) -> DeadLetter:
        return DeadLetter(
            stream=entry.stream.name,
            entry_id=entry.entry_id,
            code=code,
            message=message,
            issued_s=self._clock(),
            deliveries=entry.deliveries,
            fields={
                name.decode(errors="replace"): value.decode(errors="replace")
                for name, value in entry.fields.items()
            },
        )
