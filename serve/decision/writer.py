"""What changes the state: each write is checked, made durable in the store, and answered."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from rllib_tactical.config.service import ServiceConfig
from rllib_tactical.errors import DataError, ServiceError
from serve.api.errors import RequestError, error_body
from serve.api.responses import AccountAnswer, BarsAnswer, FillsAnswer, ModelAnswer, OverrideAnswer
from serve.api.write_requests import (
    AccountRequest,
    BarsRequest,
    FillsRequest,
    ModelRequest,
    OverrideRequest,
    WriteRequest,
)
from serve.decision.commits import Commits
from serve.decision.operator_orders import OperatorOrders, PartlyInForceError
from serve.decision.promotion import COPIES, Prepare, Promotion
from serve.state.answers import account_answer, bars_answer, fills_answer
from serve.state.availability import Availability
from serve.state.opening import OpenState
from serve.state.performance import performance_report
from serve.state.records import AccountRecord, BarsRecord, FillsRecord
from serve.state.store import StoreError

_LOG = logging.getLogger(__name__)
_NOT_WRITTEN: Final = "the state cannot be written; try again"  # without paths of the machine
_JSON: Final = msgspec.json.Encoder().encode

Reply = tuple[int, bytes]
"""HTTP status and JSON body."""


class StateWriter:
    """Writes to the state, for the requests of one process.

    Args:
        opened: the state.
        folder: of the state on this machine.
        availability: told of each write that succeeds or fails.
        service: the time limits.
        prepare: see ``Prepare``.
        clock: epoch time in seconds.
    """

    def __init__(
        self,
        opened: OpenState,
        folder: Path,
        availability: Availability,
        service: ServiceConfig,
        prepare: Prepare,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._shared, self._journal = opened.shared, opened.journal
        self._availability, self.clock = availability, clock
        self._commit = Commits(opened.shared, availability)
        self.promotion = Promotion(self._commit, folder / COPIES, service, prepare)
        self._orders = OperatorOrders(
            self._commit, opened.orders, service.lease_s, lambda: self.clock()
        )

    async def answer(self, request: WriteRequest) -> Reply:
        """Make a write durable and answer it; from then on every replica decides on it."""
        answer: BarsAnswer | FillsAnswer | AccountAnswer | OverrideAnswer | ModelAnswer
        try:
            if isinstance(request, ModelRequest):
                answer = await self.promotion.promote(request)
            elif isinstance(request, OverrideRequest):
                answer = await self._orders.give(request)
            elif isinstance(request, AccountRequest):
                answer = await self._account(request)
            elif isinstance(request, BarsRequest):
                answer = await self._bars(request)
            else:
                answer = await self._fills(request)
        except RequestError as error:
            return error.status, _JSON(error.body())
        except ServiceError as error:
            _LOG.error("a write was not accepted: %s", error)
            told = str(error) if isinstance(error, PartlyInForceError) else _NOT_WRITTEN
            return 503, _JSON(error_body("state_unavailable", told))
        return 200, _JSON(answer)

    async def performance(self, days: int, symbol: str) -> Reply:
        """Return the trading metrics of the last ``days`` days of a symbol that is served."""
        machine = self._shared.machine.of(symbol)
        try:
            report = await asyncio.to_thread(
                performance_report,
                list(machine.trades),
                machine.instrument,
                self.clock(),
                days,
                machine.model.bar_seconds,
            )
        except DataError as error:  # trades after the calendar's end
            return 503, _JSON(error_body("state_unavailable", str(error)))
        return 200, _JSON(report)

    async def probe(self) -> None:
        """Find out by a write whether the store can be written.

        Raises:
            StoreError: it cannot.
        """
        begun = self._availability.monotonic()
        try:
            await asyncio.to_thread(self._shared.store.probe)
            if self._availability.failure is not None:
                await asyncio.to_thread(self._journal.probe)
        except StoreError as error:
            self._availability.failed(error)
            raise
        self._availability.succeeded(begun)

    async def tend(self) -> None:
        """Record what needs no request: an order that had to wait.

        Raises:
            StoreError: the store cannot be written.
        """
        await self._orders.settle()
        await self._shared.keep_short()

    async def _bars(self, request: BarsRequest) -> BarsAnswer:
        machine = self._shared.machine
        plan: Any = None

        def check() -> BarsRecord | None:
            nonlocal plan
            record, plan = machine.check_bars(request, self.clock())
            return record

        if await self._commit(check):
            changed = {"late": [row.time_s for row in plan.late], "note": request.note}
            changed["revised"] = [row.time_s for row in plan.revised]
            last = plan.rows[-1].time_s
            self._commit.log("bars", bars=len(plan.rows), last_timestamp=last, **changed)
        return bars_answer(machine, plan, request.symbol)

    async def _fills(self, request: FillsRequest) -> FillsAnswer:
        machine = self._shared.machine
        plan: Any = None

        def check() -> FillsRecord | None:
            nonlocal plan
            record, plan = machine.check_fills(request, self.clock())
            return record

        if await self._commit(check):
            named = [{"fill_id": f.fill_id, "decision_id": f.decision_id} for f in plan.new]
            self._commit.log("fills", fills=named, busts=list(plan.busts), note=request.note)
        return fills_answer(machine, plan, request.symbol)

    async def _account(self, request: AccountRequest) -> AccountAnswer:
        machine = self._shared.machine
        before = machine.asked(request.symbol).account

        def check() -> AccountRecord | None:
            nonlocal before
            before = machine.asked(request.symbol).account
            return machine.check_account(request, self.clock())

        if written := await self._commit(check):
            self._commit.log("account", request=msgspec.to_builtins(request))
        return account_answer(machine, request, before, written)
