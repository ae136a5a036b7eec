"""From an event, a closed bar or a request to an order: one path, whoever brings it.

A decision with an order leaves only once it is durable.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import perf_counter
from typing import Final

import msgspec

from rllib_tactical.data.synergy_events import SynergyEvent
from rllib_tactical.domain.features.synergy import IN_FORCE
from rllib_tactical.domain.types import Reason
from rllib_tactical.errors import TacticalError
from serve.api.decide_request import AskedRequest, parse_request
from serve.api.write_requests import BarsRequest, WriteRequest
from serve.decision.decider import Decided
from serve.decision.replica import Active, StateReplica
from serve.decision.writer import Reply
from serve.journal.record import Caller
from serve.state.request_keys import not_in_force
from serve.state.store import StoreError

_ATTEMPTS: Final = 3
"""How often an order is decided on because the state has changed meanwhile."""

UNTIMELY: Final = (Reason.EVENT_LATE, Reason.EVENT_EARLY)

CLOCK_SLACK_S: Final = 60.0
"""How far ahead the clock of an event's sender may be, seconds."""

_OF_BARS: Final = ("current_price", "atr_5min")
_MAX_REQUEST_ID: Final = 128
_TRACEPARENT: Final = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class Controller:
    """Takes what comes in, over whatever way: decides, and changes the state.

    Every decision is kept in the journal.

    Args:
        replica: the state to decide on, and the journal.
        limit_s: how long an order may wait for the journal.
        failed: called when an order could not be made durable.
        live_bars: whether the clock, and not only the bars, tells the time.
        clock: epoch time in seconds.
    """

    def __init__(
        self,
        replica: StateReplica,
        limit_s: float,
        failed: Callable[[], None],
        live_bars: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._replica, self._limit_s, self._failed = replica, limit_s, failed
        self._live_bars, self._clock = live_bars, clock

    async def answer(self, body: bytes, caller: Caller) -> Decided:
        """Decide on the body of a request; an answer with an order is durable.

        Raises:
            RequestError: the body is refused, see ``Decider.answer``; 409 when it is a repeat whose
                order has been filled since; 422 for a symbol that is not served.
        """
        start = perf_counter()
        return await self._answer(parse_request(body), caller, start)

    async def event(self, event: SynergyEvent, received_s: float, caller: Caller) -> Decided:
        """Decide on an event, with the service's own bars: as ``answer``, by symbol.

        An event that is no longer in force, or is of a time that has not come, holds.

        Args:
            event: what the strategic system reports; its ``market_context`` names the symbol.
            received_s: epoch time at which it was received, by the receiver's clock.
            caller: who brings it.

        Raises:
            RequestError: it cannot be decided on, see ``answer``.
        """
        start = perf_counter()
        asked = parse_request(decide_body(event))
        clocks = (received_s, self._clock()) if self._live_bars else None
        return await self._answer(
            asked, caller, start, lambda active: _untimely(event, active, clocks)
        )

    async def _answer(
        self,
        asked: AskedRequest,
        caller: Caller,
        start: float,
        untimely: Callable[[Active], Reason | None] = lambda active: None,
    ) -> Decided:
        asked.require_symbol(self._replica.symbols)
        active = self._replica.active(asked.symbol)
        hold = active.hold or untimely(active)
        decided = active.decider.answer_asked(asked, active.state, hold, start=start)
        if decided.orders:
            return await self._secured(asked, active, decided, caller)
        self._replica.recorder.keep(decided, active.version, caller)
        return decided

    async def write(self, request: WriteRequest) -> Reply:
        """Make a change of the state durable and answer it, see ``StateWriter.answer``."""
        reply = await self._replica.writer.answer(request)
        if isinstance(request, BarsRequest):
            # once the answer has left; the other replicas see the bars when they look next
            asyncio.get_running_loop().call_soon(self._prepare)
        return reply

    def _prepare(self) -> None:
        with suppress(TacticalError):  # the service has ended meanwhile
            self._replica.prepare()

    async def _secured(
        self, asked: AskedRequest, active: Active, decided: Decided, caller: Caller
    ) -> Decided:
        """Return a decision with an order once it is durable, else one that holds.

        What has changed while it was written is decided on again: a pause that was answered
        meanwhile, for one, is in force.
        """
        recorder = self._replica.recorder
        for _ in range(_ATTEMPTS):
            self._require_unfilled(decided)
            try:
                await asyncio.wait_for(
                    recorder.secure(decided, active.version, caller), self._limit_s
                )
            except (StoreError, TimeoutError) as error:
                self._replica.availability.failed(error)
                self._failed()
                if decided.answer.source != "override":
                    break
                # an operator's order to close the position does not wait for a disk
                recorder.keep(decided, active.version, caller)
                return decided
            before, active = active, self._replica.active(asked.symbol)
            same = active.state is before.state and active.decider is before.decider
            if same and active.hold is None:
                return decided
            again = active.decider.answer_asked(asked, active.state, active.hold)
            if again.answer.decision_id == decided.answer.decision_id:
                return decided
            decided = again
            if not decided.orders:
                recorder.keep(decided, active.version, caller)
                return decided
        decided = active.decider.answer_asked(asked, active.state, Reason.STATE_UNAVAILABLE)
        recorder.keep(decided, active.version, caller)
        return decided

    def _require_unfilled(self, decided: Decided) -> None:
        """Refuse to open a position by an order that was filled: its id belongs to that one."""
        command, decision_id = decided.answer.decision.execution_command, decided.answer.decision_id
        if command is None or command.stop_loss is None:
            return  # nothing keeps a position from being closed
        if self._replica.machine.of(command.symbol).has_filled(decision_id):
            raise not_in_force(f"the order {decision_id} has been filled", "decision_id")


def untimely_event(
    event_s: float, last_s: int | None, bar_seconds: int, clocks: tuple[float, float] | None
) -> Reason | None:
    """Return why an event must not be traded on now, None when it may be.

    An event is in force, as in a backtest, from the first bar that closes at or after its time, for
    three bars. Until that bar closes it counts at once.

    Args:
        event_s: epoch time of the event.
        last_s: open time of the newest bar, None without one.
        bar_seconds: length of a bar.
        clocks: epoch times at which it was received and that are now; None in a replay, where
            only bars tell the time.
    """
    in_force_s = IN_FORCE * bar_seconds
    if last_s is not None and last_s + bar_seconds - event_s >= in_force_s:
        return Reason.EVENT_LATE
    if clocks is None:
        return None
    received_s, now_s = clocks
    if event_s - received_s > CLOCK_SLACK_S:
        return Reason.EVENT_EARLY
    # the next bar may take a moment to arrive after it has closed
    return Reason.EVENT_LATE if now_s - event_s >= in_force_s + bar_seconds else None


def _untimely(
    event: SynergyEvent, active: Active, clocks: tuple[float, float] | None
) -> Reason | None:
    market = active.state.market
    last_s = None if market is None else market.last_s
    return untimely_event(event.time_s, last_s, active.decider.bundle.bar_seconds, clocks)


def decide_body(event: SynergyEvent) -> bytes:
    """Return the request that an event makes: price and ATR are those of the service's bars."""
    own = {name: value for name, value in event.market_context.items() if name not in _OF_BARS}
    context = {
        "synergy_type": event.synergy_type,
        "direction": event.direction,
        "confidence": event.confidence,
        "signal_sequence": event.signal_sequence,
        "market_context": own,
        "event_id": event.event_id,
        "timestamp": event.timestamp,
    }
    return msgspec.json.encode({"synergy_context": context})


def caller_of(
    headers: Mapping[bytes, bytes], address: str | None, token: str | None = None
) -> Caller:
    """Return who asks: ``X-Request-Id`` (its first 128 characters) and a valid ``traceparent``.

    Args:
        headers: of the request, names in lower case.
        address: that the connection comes from.
        token: name of the token that the request carried.
    """
    request_id = headers.get(b"x-request-id", b"").decode("latin-1")[:_MAX_REQUEST_ID]
    trace = headers.get(b"traceparent", b"")
    return Caller(
        request_id=request_id or None,
        traceparent=trace.decode() if _TRACEPARENT.fullmatch(trace) else None,
        address=address,
        token=token,
    )
