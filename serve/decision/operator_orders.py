"""An operator's orders: in force at once, with the store or without it."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from rllib_tactical.errors import ServiceError
from serve.api.errors import RequestError
from serve.api.responses import OverrideAnswer
from serve.api.write_requests import OverrideRequest
from serve.decision.commits import Commits
from serve.state.machine import CONTROLS
from serve.state.records import ControlRecord
from serve.state.request_keys import not_in_force
from serve.state.standing_order import StandingOrder
from serve.state.store import StoreError

_LOG = logging.getLogger(__name__)


class PartlyInForceError(ServiceError):
    """An order to stop that could not be put into force everywhere; says where it is."""


class OperatorOrders:
    """Gives an operator's orders, for the requests of one process.

    Args:
        commit: writes to the state.
        order: where an order stands that the store does not take.
        patience_s: how long an order to stop waits for the store.
        clock: epoch time in seconds.
    """

    def __init__(
        self,
        commit: Commits,
        order: StandingOrder,
        patience_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._commit, self._order = commit, order
        self._patience_s, self._clock = patience_s, clock

    async def give(self, request: OverrideRequest) -> OverrideAnswer:
        """Put an order into force and answer what is in force then.

        Raises:
            RequestError: 409, see ``StateMachine.check_control``.
            StoreError: an order to resume cannot be written.
            PartlyInForceError: an order to stop is not in force on every replica.
        """
        machine = self._commit.shared.machine
        fields = {
            "action": request.action,
            "request_id": request.request_id,
            "note": request.note,
            "by": request.by,
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
        return OverrideAnswer(machine.control, repeated=not written, version=machine.version)

    async def _stand(self, request: OverrideRequest) -> OverrideAnswer:
        """Put an order into force without the store.

        Raises:
            RequestError: 409, see ``StateMachine.check_control``.
            PartlyInForceError: it is not in force on every replica.
        """
        machine = self._commit.shared.machine
        request = replace(request, request_id=request.request_id or f"order-{uuid.uuid4().hex}")
        standing = self._order.read()
        record = machine.check_control(request, self._clock())
        if record is None and standing is not None and standing.action != request.action:
            raise not_in_force(f"{request.action} was replaced by {standing.action}")
        if record is None:
            return OverrideAnswer(machine.control, repeated=True, version=machine.version)
        in_file = await asyncio.to_thread(self._order.write, record)
        _LOG.warning("the order %s stands without the store", request.action)
        if in_file and self._commit.shared.store.local:
            control = CONTROLS[record.action]
            return OverrideAnswer(control, repeated=False, version=machine.version)
        where = "on the machine that answers" if in_file else "in the process that answers"
        raise PartlyInForceError(
            f"{request.action} is in force only {where} this; send it again until it is 200"
        )

    async def settle(self) -> None:
        """Record the standing order in the store, then clear it.

        Raises:
            StoreError: the store cannot be written.
        """
        order = self._order.read()
        if order is None:
            return

        def check() -> ControlRecord | None:
            if self._order.read() != order:
                return None  # another replica was first, or another order was given
            action: Any = order.action
            given = OverrideRequest(action, order.request_id, order.note, order.by)
            return self._commit.shared.machine.check_control(given, order.at_s)

        try:
            await self._commit(check)
            await asyncio.to_thread(self._order.clear, order)
        except RequestError:
            _LOG.exception("a standing order contradicts the state")
            await asyncio.to_thread(self._order.clear, order)
        except OSError:
            _LOG.exception("a standing order was not cleared")
