"""What changes the state: each write is checked, made durable in the store, and answered."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from rllib_tactical.bundle.bundle import copy_bundle, load_bundle
from rllib_tactical.config.service import ServiceConfig
from rllib_tactical.errors import DataError, ServiceError, TacticalError, UnreadableError
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
from serve.state.availability import Availability
from serve.state.machine import CONTROLS
from serve.state.opening import OpenState
from serve.state.performance import performance_report
from serve.state.records import (
    AccountRecord,
    BarsRecord,
    ControlRecord,
    FillsRecord,
    ModelRecord,
    ProposalRecord,
    Record,
    model_record,
)
from serve.state.store import StoreError

_LOG = logging.getLogger(__name__)
COPIES: Final = "bundles"
"""Folder below the state folder that holds a copy of the chosen bundle."""

KEPT_COPIES: Final = 20
"""Newest bundles of which copies stay, so that their decisions can be recomputed."""

MAX_HEAD_START_S: Final = 5.0
_NOT_WRITTEN: Final = "the state cannot be written; try again"  # without paths of the machine
_JSON: Final = msgspec.json.Encoder().encode

Reply = tuple[int, bytes]
"""HTTP status and JSON body."""

Prepare = Callable[[ModelRecord], None]
"""Loads and warms a bundle, so that this process can change over to it; called in a thread."""


class PartlyInForceError(ServiceError):
    """An order to stop that could not be put into force everywhere; says where it is."""


class StateWriter:
    """Writes to the state, for the requests of one process.

    Args:
        opened: the state.
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
        self._shared, self._order, self._journal = opened.shared, opened.order, opened.journal
        self._copies = folder / COPIES
        self._availability, self._service = availability, service
        self._prepare, self.clock = prepare, clock
        self._one = asyncio.Lock()
        self._promoting = asyncio.Lock()

    async def answer(self, request: WriteRequest) -> Reply:
        """Make a write durable and answer it; from then on every replica decides on it."""
        answer: BarsAnswer | FillsAnswer | AccountAnswer | OverrideAnswer | ModelAnswer
        try:
            if isinstance(request, ModelRequest):
                answer = await self._promote(request)
            elif isinstance(request, OverrideRequest):
                answer = await self._control(request)
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

    async def performance(self, days: int) -> Reply:
        """Return the trading metrics of the last ``days`` days."""
        machine = self._shared.machine
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
        await self._settle()
        await self._shared.keep_short()

    def keep_copy(self, record: ModelRecord) -> None:
        """Copy a chosen bundle, for replicas that start after its own folder has changed.

        Raises:
            TacticalError: the bundle is no longer in its folder.
            OSError: the copy cannot be written.
        """
        if not (self._copies / record.bundle_id).is_dir():
            copy_bundle(Path(record.path), record.bundle_id, self.copy_of(record))
        copies = sorted(self._copies.iterdir(), key=lambda copy: copy.stat().st_mtime)
        kept = {record.bundle_id, self._shared.machine.model.bundle_id}
        for copy in copies[:-KEPT_COPIES]:
            if copy.name not in kept:
                shutil.rmtree(copy, ignore_errors=True)

    def copy_of(self, record: ModelRecord | ProposalRecord) -> Path:
        """Return where the copy of a chosen bundle is."""
        return self._copies / record.bundle_id

    async def _commit(self, check: Callable[[], Record | None]) -> bool:
        """Write what ``check`` returns, see ``SharedState.write``, and note what came of it."""
        if self._availability.hangs:
            raise StoreError("the store does not answer")
        async with self._one:
            begun = self._availability.monotonic()
            try:
                written = await self._shared.write(check)
            except StoreError as error:
                self._availability.failed(error)
                raise
        if written:
            self._availability.succeeded(begun)
        return written

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
            self._log("bars", bars=len(plan.rows), last_timestamp=last, **changed)
        market = machine.market()
        return BarsAnswer(
            symbol=request.symbol,
            accepted=len(plan.new) + len(plan.late),
            late=len(plan.late),
            revised=len(plan.revised),
            repeated=plan.repeated,
            gaps=list(plan.gaps),
            last_timestamp=market.last_s,
            bars=market.bars,
            ready=market.ready,
            degraded=market.bars_since_gap is not None,
            version=machine.version,
        )

    async def _fills(self, request: FillsRequest) -> FillsAnswer:
        machine = self._shared.machine
        plan: Any = None

        def check() -> FillsRecord | None:
            nonlocal plan
            record, plan = machine.check_fills(request, self.clock())
            return record

        if await self._commit(check):
            named = [{"fill_id": f.fill_id, "decision_id": f.decision_id} for f in plan.new]
            self._log("fills", fills=named, busts=list(plan.busts), note=request.note)
        account = machine.snapshot().account
        return FillsAnswer(
            symbol=request.symbol,
            accepted=len(plan.new),
            corrected=sum(fill.corrects is not None for fill in plan.new),
            busted=len(plan.busts),
            repeated=plan.repeated,
            position=account.side * account.quantity,
            equity=account.equity,
            halted=account.halted,
            version=machine.version,
        )

    async def _account(self, request: AccountRequest) -> AccountAnswer:
        machine = self._shared.machine
        before = machine.snapshot().account

        def check() -> AccountRecord | None:
            nonlocal before
            before = machine.snapshot().account
            return machine.check_account(request, self.clock())

        if written := await self._commit(check):
            self._log("account", request=msgspec.to_builtins(request))
        snapshot, broker = machine.snapshot(), request.broker
        account = snapshot.account
        moved = sum(move.amount for move in request.cash) if written else 0.0
        known = None if broker is None else broker.equity
        return AccountAnswer(
            symbol=request.symbol,
            repeated=not written,
            position=account.side * account.quantity,
            equity=account.equity,
            position_difference=(
                None if broker is None else broker.position - before.side * before.quantity
            ),
            equity_difference=None if known is None else known - before.equity - moved,
            reconciled=snapshot.broker_position is None,
            halted=account.halted,
            version=machine.version,
        )

    async def _control(self, request: OverrideRequest) -> OverrideAnswer:
        machine = self._shared.machine
        fields = {
            "action": request.action,
            "request_id": request.request_id,
            "note": request.note,
            "by": request.by,
        }

        def check() -> ControlRecord | None:
            return machine.check_control(request, self.clock())

        async def record() -> bool:
            await self._settle()  # the orders stay in order
            return await self._commit(check)

        if request.action == "resume":
            written = await record()
        else:
            # nothing keeps an order to stop waiting: not a full disk, not one that hangs
            try:
                written = await asyncio.wait_for(record(), self._service.lease_s)
            except (StoreError, TimeoutError) as error:
                self._availability.failed(error)
                return await self._stand(request)
        if written:
            self._log("control", **fields)
        return OverrideAnswer(machine.control, repeated=not written, version=machine.version)

    async def _stand(self, request: OverrideRequest) -> OverrideAnswer:
        """Put an order into force without the store.

        Raises:
            RequestError: 409 when the request id was used for another order.
            PartlyInForceError: it is not in force on every replica.
        """
        machine = self._shared.machine
        request = replace(request, request_id=request.request_id or f"order-{uuid.uuid4().hex}")
        record = machine.check_control(request, self.clock())
        if record is None:
            return OverrideAnswer(machine.control, repeated=True, version=machine.version)
        in_file = await asyncio.to_thread(self._order.write, record)
        _LOG.warning("the order %s stands without the store", request.action)
        if in_file and self._shared.store.local:
            control = CONTROLS[record.action]
            return OverrideAnswer(control, repeated=False, version=machine.version)
        where = "on the machine that answers" if in_file else "in the process that answers"
        raise PartlyInForceError(
            f"{request.action} is in force only {where} this; send it again until it is 200"
        )

    async def _settle(self) -> None:
        """Record the standing order in the store, then clear it."""
        order = self._order.read()
        if order is None:
            return

        def check() -> ControlRecord | None:
            if self._order.read() != order:
                return None  # another replica was first, or another order was given
            action: Any = order.action
            given = OverrideRequest(action, order.request_id, order.note, order.by)
            return self._shared.machine.check_control(given, order.at_s)

        try:
            await self._commit(check)
            await asyncio.to_thread(self._order.clear, order)
        except RequestError:
            _LOG.exception("a standing order contradicts the state")
            await asyncio.to_thread(self._order.clear, order)
        except OSError:
            _LOG.exception("a standing order was not cleared")

    async def _promote(self, request: ModelRequest) -> ModelAnswer:
        """Load a bundle and choose it; on any failure nothing changes.

        Raises:
            RequestError: 422 when the bundle is refused.
            ServiceError: the choice could not be written.
        """
        machine = self._shared.machine
        async with self._promoting:
            try:
                bundle = await asyncio.to_thread(load_bundle, _resolved(request.path))
                record = model_record(bundle, live_bars=self._service.live_bars)
                machine.check_model(record)
            except TacticalError as error:
                raise _refused(str(error)) from error
            if request.bundle_id not in (None, record.bundle_id):
                raise _refused(f"bundle_id: the folder holds {record.bundle_id}", "bundle_id")
            previous = machine.model
            if (record.bundle_id, record.path) != (previous.bundle_id, previous.path):
                if record.bundle_id != previous.bundle_id:
                    await self._ready(record)
                await self._commit(lambda: record)
                self._log("model", bundle_id=record.bundle_id)
            return ModelAnswer(record.bundle_id, previous.bundle_id, machine.version)

    async def _ready(self, record: ModelRecord) -> None:
        """Warm a bundle up and copy it; give the other replicas time to do the same."""
        begun = time.monotonic()
        proposal = ProposalRecord(record.path, record.bundle_id)
        try:
            await asyncio.wait_for(
                asyncio.to_thread(self._prepare, record), self._service.reload_timeout_s
            )
            await asyncio.to_thread(self.keep_copy, record)
        except TimeoutError as error:
            limit_s = self._service.reload_timeout_s
            raise _refused(f"it was not loaded after {limit_s:g} s") from error
        except OSError as error:
            raise StoreError(f"the bundle cannot be copied: {error}") from error
        except TacticalError as error:
            raise _refused(str(error)) from error
        took_s = time.monotonic() - begun
        await self._commit(lambda: proposal)
        # a replica that is not ready after that holds until it is
        await asyncio.sleep(min(2.0 * took_s + self._service.poll_s, MAX_HEAD_START_S))

    def _log(self, what: str, **fields: Any) -> None:
        fields = {"version": self._shared.machine.version, **fields}
        _LOG.info("%s accepted", what, extra={"fields": fields})


def _resolved(path: str) -> Path:
    """Return the folder that a path leads to now, however its links are changed later.

    Raises:
        UnreadableError: it leads nowhere: its links run in a circle, or no path can be spelt so.
    """
    try:
        return Path(path).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise UnreadableError(f"no bundle here: {error}: {path!r}") from error


def _refused(message: str, field: str = "path") -> RequestError:
    return RequestError(422, "bundle_refused", message, field)
