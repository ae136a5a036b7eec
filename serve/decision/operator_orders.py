"""An operator's orders: in force at once, with the store or without it."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable
from typing import Any

from msgspec import UNSET
from msgspec.structs import replace

from rllib_tactical.errors import ServiceError
from serve.api.errors import RequestError
from serve.api.responses import OverrideAnswer
from serve.api.write_requests import OverrideRequest
from serve.decision.commits import Commits
from serve.state.records import ControlRecord
from serve.state.request_keys import not_in_force
from serve.state.standing_order import StandingOrders
from serve.state.store import StoreError
from serve.state.symbol_machine import CONTROLS, STRICTNESS

_LOG = logging.getLogger(__name__)


class PartlyInForceError(ServiceError):
    """An order to stop that could not be put into force everywhere; says where it is."""


class OperatorOrders:
    """Gives an operator's orders, for the requests of one process.

    Args:
        commit: writes to the state.
        orders: where an order stands that the store does not take.
        patience_s: how long an order to stop waits for the store.
        clock: epoch time in seconds.
    """

    def __init__(
        self,
        commit: Commits,
        orders: StandingOrders,
        patience_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._commit, self._orders = commit, orders
        self._patience_s, self._clock = patience_s, clock

    async def give(self, request: OverrideRequest) -> OverrideAnswer:
        """Put an order into force and answer what is in force then.

        Raises:
            RequestError: 409 and 422, see ``StateMachine.check_control``.
            StoreError: an order to resume cannot be written.
            PartlyInForceError: an order to stop is not in force on every replica.
        """
        machine = self._commit.shared.machine
        fields = {
            "action": request.action,
            "request_id": request.request_id,
            "note": request.note,
            "by": request.by,
            "symbol": request.symbol,
        }

        def check() -> ControlRecord | None:
            return machine.check_control(request, self._clock())

        async def record() -> bool:
            await self.settle()  # the orders stay in order
            return await self._commit(check)

        if request.action == "resume":
            written = await record()
        else:
            # nothing keeps an order to stop waiting: not a full disk, not one that hangs
            try:
                written = await asyncio.wait_for(record(), self._patience_s)
            except (StoreError, TimeoutError) as error:
                self._commit.availability.failed(error)
                return await self._stand(request)
        if written:
            self._commit.log("control", **fields)
        return self._answer(request, repeated=not written)

    async def _stand(self, request: OverrideRequest) -> OverrideAnswer:
        """Put an order into force without the store.

        Raises:
            RequestError: 409 and 422, see ``StateMachine.check_control``.
            PartlyInForceError: it is not in force on every replica.
        """
        machine = self._commit.shared.machine
        request = replace(request, request_id=request.request_id or f"order-{uuid.uuid4().hex}")
        asked = machine.served if request.symbol is None else (request.symbol,)
        standing = [self._orders.read(symbol) for symbol in asked]
        record = machine.check_control(request, self._clock())
        if record is None:
            for other in standing:
                if other is not None and other.action != request.action:
                    raise not_in_force(f"{request.action} was replaced by {other.action}")
            return self._answer(request, repeated=True)
        in_file = await asyncio.to_thread(self._orders.write, record)
        _LOG.warning("the order %s stands without the store", request.action)
        if in_file and self._commit.shared.store.local:
            return self._answer(request, repeated=False)
        where = "on the machine that answers" if in_file else "in the process that answers"
        raise PartlyInForceError(
            f"{request.action} is in force only {where} this; send it again until it is 200"
        )

    async def settle(self) -> None:
        """Record the standing orders in the store, then clear them.

        Raises:
            StoreError: the store cannot be written.
        """
        for order in self._orders.standing():
            await self._record(order)

    async def _record(self, order: ControlRecord) -> None:
        def check() -> ControlRecord | None:
            if order not in self._orders.standing():
                return None  # another replica was first, or another order was given
            action: Any = order.action
            given = OverrideRequest(action, order.request_id, order.note, order.by, order.symbol)
            return self._commit.shared.machine.check_control(given, order.at_s)

        try:
            await self._commit(check)
            await asyncio.to_thread(self._orders.clear, order)
        except RequestError:
            _LOG.exception("a standing order contradicts the state")
            await asyncio.to_thread(self._orders.clear, order)
        except OSError:
            _LOG.exception("a standing order was not cleared")

    def _answer(self, request: OverrideRequest, repeated: bool) -> OverrideAnswer:
        """Return what is in force now: of several symbols the strictest order, and each one's."""
        machine = self._commit.shared.machine
        found = {symbol: machine.symbols[symbol].control for symbol in machine.served}
        for symbol in found:
            standing = self._orders.read(symbol)
            if standing is not None:
                found[symbol] = CONTROLS[standing.action]
        asked = found.values() if request.symbol is None else [found[request.symbol]]
        return OverrideAnswer(
            max(asked, key=STRICTNESS.index),
            repeated=repeated,
            version=machine.version,
            overrides=found if len(found) > 1 else UNSET,
        )
