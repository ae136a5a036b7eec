"""What comes of entries before anything is written to the bus."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from serve.api.decide_request import MAX_BODY_BYTES
from serve.api.streams import BARS, SYNERGIES, encode_fields
from serve.bus.entries import Answered, EntryAnswers
from serve.bus.redis_bus import Entry
from tests.serve.bus.events import bars_request, event


class NoMarks:
    """A bus that knows no event."""

    async def marks(self, event_ids: Sequence[str]) -> list[bool]:
        return [False for _ in event_ids]


class Failing:
    """A controller with a defect."""

    async def event(self, *arguments: Any) -> Any:
        raise ZeroDivisionError

    async def write(self, request: Any) -> tuple[int, bytes]:
        raise ZeroDivisionError


class Refusing:
    """A controller that refuses bars."""

    def __init__(self, status: int) -> None:
        self._status = status

    async def write(self, request: Any) -> tuple[int, bytes]:
        error = {"code": "off_grid", "message": "no", "details": {}}
        return self._status, msgspec.json.encode({"error": error})


def answers(controller: Any) -> EntryAnswers:
    bus: Any = NoMarks()
    return EntryAnswers(bus, controller, clock=lambda: 5.0)


def entry(stream: Any, message: Any) -> Entry:
    fields = {name.encode(): value for name, value in encode_fields(message).items()}
    return Entry(stream, "1700000000000-0", fields)


def code(answered: Answered | None) -> str:
    assert answered is not None and answered.settlement.dead is not None
    return answered.settlement.dead.code


def test_a_defect_becomes_a_dead_letter() -> None:
    found = asyncio.run(answers(Failing()).events([entry(SYNERGIES, event("a", 5))]))
    assert [code(one) for one in found] == ["internal_error"]
    changed = asyncio.run(answers(Failing()).change(entry(BARS, bars_request(0, 2))))
    assert code(changed) == "internal_error"


def test_bars_wait_while_the_state_cannot_be_written_and_are_refused_otherwise() -> None:
    bars = entry(BARS, bars_request(0, 2))
    assert asyncio.run(answers(Refusing(503)).change(bars)) is None
    refused = asyncio.run(answers(Refusing(422)).change(bars))
    assert code(refused) == "off_grid"
    assert refused is not None and refused.settlement.dead is not None
    letter = refused.settlement.dead
    assert (letter.stream, letter.entry_id, letter.message) == ("bars", "1700000000000-0", "no")
    assert (letter.issued_s, letter.deliveries) == (5.0, 1)


def test_an_entry_may_not_be_larger_than_a_request() -> None:
    large = Entry(SYNERGIES, "1-0", {b"data": b" " * (MAX_BODY_BYTES + 1)})
    found = asyncio.run(answers(Failing()).events([large]))
    assert [code(one) for one in found] == ["body_too_large"]
