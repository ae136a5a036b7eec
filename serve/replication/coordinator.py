"""The coordinator: the one writer of the service's state.

Each replica decides on a copy of the state, so that no decision waits for another process. A copy
comes with a lease: the replica may use it for ``lease_s`` from the moment it asked. A write is
answered only when every replica whose lease still runs has confirmed the new version; a replica
that does not answer loses its lease and holds. So no decision is made on a state older than a write
that has been answered.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from rllib_tactical.bundle.bundle import copy_bundle, load_bundle
from rllib_tactical.errors import DataError, ServiceError, TacticalError, UnreadableError
from serve.api.errors import RequestError, error_body
from serve.api.responses import BarsAnswer, FillsAnswer, ModelAnswer, OverrideAnswer
from serve.api.write_requests import (
    BarsRequest,
    FillsRequest,
    ModelRequest,
    OverrideRequest,
    WriteRequest,
)
from serve.observability.logs import log_to_folder
from serve.observability.metrics import TradeTelemetry
from serve.replication.messages import Proposal, Reply, View
from serve.replication.recovery import CoordinatorSettings, open_state
from serve.state.leases import Leases, Report
from serve.state.machine import (
    BarsRecord,
    ControlRecord,
    FillsRecord,
    ModelRecord,
    Record,
    model_record,
)
from serve.state.performance import agent_accuracy, performance_report

_LOG = logging.getLogger(__name__)
COPIES: Final = "bundles"
"""Folder below the state folder that holds a copy of the chosen bundle."""

_ENCODE: Final = msgspec.msgpack.Encoder().encode
_JSON: Final = msgspec.json.Encoder().encode

WriteAnswer = BarsAnswer | FillsAnswer | OverrideAnswer | ModelAnswer


class Coordinator:
    """Owner of the state. Its methods run on one event loop; none blocks it for long.

    Args:
        settings: where the state is and how long leases are.
        clock: epoch time in seconds.
        monotonic: seconds that only grow.

    Raises:
        ServiceError: see ``open_state``.
    """

    def __init__(
        self,
        settings: CoordinatorSettings,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._service = settings.service
        if settings.log_folder is not None:
            log_to_folder(Path(settings.log_folder), "coordinator", settings.log_level)
        self._telemetry = TradeTelemetry()
        self._clock, self._monotonic = clock, monotonic
        self._journal, self._machine = open_state(settings)
        self._machine.agent_accuracy = agent_accuracy(self._machine.trades)
        self._copies = Path(settings.state_folder) / COPIES
        try:
            self._copy(self._machine.model)
        except (TacticalError, OSError) as error:
            # replicas need the copy only once the bundle's own folder has changed
            _LOG.warning("the bundle is not copied to the state folder: %s", error)
        self._leases = Leases(settings.service.lease_s, monotonic)
        self._changed = asyncio.Event()
        self._proposal: Proposal | None = None
        self._proposals = 0
        self._reloading = asyncio.Lock()

    async def poll(self, replica: str, have: int, seen: int, report: Report | None) -> bytes:
        """Confirm version ``have`` of the state and return the ``View`` when there is a newer one.

        Args:
            replica: identity of the asking process.
            have: version that it decides on; -1 for none.
            seen: number of the last proposal it knows of.
            report: what came of that proposal, once known.
        """
        now = self._monotonic()
        asking = self._leases.ask(replica, have, report)
        self._wake()
        self._follow_clock()
        until = now + self._service.poll_s
        while have == self._machine.version and self._number() == seen:
            left = until - self._monotonic()
            if left <= 0 or not await self._change(left):
                break
        self._leases.offer(asking, self._machine.version, now)
        snapshot = None if have == self._machine.version else self._machine.snapshot()
        copy = str(self._copies / self._machine.model.bundle_id)
        version, lease_s = self._machine.version, self._service.lease_s
        return _ENCODE(View(version, lease_s, snapshot, self._proposal, copy))

    async def leave(self, replica: str) -> None:
        """Forget a replica that stops: no write needs to wait for it."""
        self._leases.end(replica)
        self._wake()

    async def write(self, request: WriteRequest) -> Reply:
        """Journal and apply a write; answer when every replica has the new version."""
        answer: WriteAnswer
        try:
            if isinstance(request, ModelRequest):
                answer = await self._reload(request)
            else:
                answer = self._accept(request)
        except RequestError as error:
            return error.status, _JSON(error.body())
        except ServiceError as error:
            _LOG.error("a write was not accepted: %s", error)
            return 503, _JSON(error_body("state_unavailable", "the state cannot be written"))
        await self._settled(self._machine.version)
        return 200, _JSON(replace(answer, version=self._machine.version))

    async def performance(self, days: int) -> Reply:
        """Return the trading metrics of the last ``days`` days."""
        try:
            report = performance_report(
                self._machine.trades,
                self._machine.instrument,
                self._clock(),
                days,
                self._machine.model.bar_seconds,
            )
        except DataError as error:  # trades after the calendar's end
            return 503, _JSON(error_body("state_unavailable", str(error)))
        return 200, _JSON(report)

    async def ready(self) -> None:
        """Return once the coordinator has started."""

    def close(self) -> None:
        """Close the state folder."""
        self._journal.close()

    def _accept(
        self, request: BarsRequest | FillsRequest | OverrideRequest
    ) -> BarsAnswer | FillsAnswer | OverrideAnswer:
        now, machine = self._clock(), self._machine
        if isinstance(request, BarsRequest):
            bars, new_bars = machine.check_bars(request, now)
            self._commit(bars)
            market = machine.market()
            return BarsAnswer(
                symbol=request.symbol,
                accepted=len(new_bars.new),
                repeated=new_bars.repeated,
                gaps=list(new_bars.gaps),
                last_timestamp=market.last_s,
                bars=market.bars,
                ready=market.ready,
                degraded=market.bars_since_gap is not None,
                version=machine.version,
            )
        if isinstance(request, FillsRequest):
            fills, new_fills = machine.check_fills(request, now)
            self._commit(fills)
            account = machine.snapshot().account
            return FillsAnswer(
                symbol=request.symbol,
                accepted=len(new_fills.new),
                repeated=new_fills.repeated,
                position=account.side * account.quantity,
                equity=account.equity,
                halted=account.halted,
                version=machine.version,
            )
        order = machine.check_control(request, now)
        self._commit(order)
        return OverrideAnswer(machine.control, repeated=order is None, version=machine.version)

    def _commit(self, record: Record | None) -> None:
        """Make a checked record part of the state; None changes nothing.

        Raises:
            ServiceError: it could not be written; the state stays as it was.
        """
        if record is None:
            return
        self._journal.append(record)
        effect = self._machine.apply(record)
        self._log(record)
        for trade in effect.trades:
            self._telemetry.record_trade(trade.pnl)
        if effect.trades:
            self._machine.agent_accuracy = agent_accuracy(self._machine.trades)
        self._wake()

    def _log(self, record: Record) -> None:
        fields: dict[str, Any] = {"version": self._machine.version}
        if isinstance(record, BarsRecord):
            fields |= {"bars": len(record.rows), "last_timestamp": record.rows[-1].time_s}
        elif isinstance(record, FillsRecord):
            fields["fills"] = [
                {"fill_id": fill.fill_id, "decision_id": fill.decision_id} for fill in record.fills
            ]
        elif isinstance(record, ControlRecord):
            fields |= {"action": record.action, "request_id": record.request_id}
            fields["note"] = record.note
        elif isinstance(record, ModelRecord):
            fields["bundle_id"] = record.bundle_id
        name = type(record).__name__.removesuffix("Record").lower()
        _LOG.info("%s accepted", name, extra={"fields": fields})

    def _follow_clock(self) -> None:
        try:
            self._commit(self._machine.check_session(self._clock()))
        except TacticalError as error:
            _LOG.error("a new session was not recorded: %s", error)

    async def _reload(self, request: ModelRequest) -> ModelAnswer:
        """Have every replica load a bundle, then choose it; on any failure nothing changes.

        Raises:
            RequestError: 422 when the bundle is refused here or by a replica.
            ServiceError: the choice could not be written.
        """
        async with self._reloading:
            try:
                bundle = await asyncio.to_thread(load_bundle, _resolved(request.path))
                record = model_record(bundle, live_bars=self._service.live_bars)
                self._machine.check_model(record)
            except TacticalError as error:
                raise _refused(str(error)) from error
            if request.bundle_id not in (None, record.bundle_id):
                raise _refused(f"bundle_id: the folder holds {record.bundle_id}", "bundle_id")
            previous = self._machine.model
            if (record.bundle_id, record.path) != (previous.bundle_id, previous.path):
                await self._propose(record)
                try:
                    self._copy(record)
                except OSError as error:
                    raise ServiceError(f"the bundle cannot be copied: {error}") from error
                except TacticalError as error:  # the folder has changed since it was read
                    raise _refused(str(error)) from error
                self._commit(record)
            return ModelAnswer(record.bundle_id, previous.bundle_id, self._machine.version)

    def _copy(self, record: ModelRecord) -> None:
        """Copy a chosen bundle, for replicas that start after its own folder has changed.

        Raises:
            TacticalError: the bundle is no longer in its folder.
            OSError: the copy cannot be written.
        """
        if not (self._copies / record.bundle_id).is_dir():
            copy_bundle(Path(record.path), record.bundle_id, self._copies / record.bundle_id)
        kept = {record.bundle_id, self._machine.model.bundle_id}
        for other in self._copies.iterdir():
            if other.name not in kept:
                shutil.rmtree(other, ignore_errors=True)

    async def _propose(self, record: ModelRecord) -> None:
        self._proposals += 1
        number = self._proposals
        self._proposal = Proposal(number, record.path, record.bundle_id)
        self._wake()
        deadline = self._monotonic() + self._service.reload_timeout_s
        try:
            while True:
                live = self._leases.live()
                ready = [r for r in live if r.report is not None and r.report.number == number]
                error = next((r.report.error for r in ready if r.report and r.report.error), None)
                if error is not None:
                    raise _refused(f"a replica could not load it: {error}")
                if live and len(ready) == len(live):
                    return
                left = deadline - self._monotonic()
                if left <= 0:
                    raise _refused(
                        f"{len(live) - len(ready)} of {len(live)} replicas had not loaded it "
                        f"after {self._service.reload_timeout_s:g} s"
                    )
                await self._change(min(left, self._service.poll_s))
        finally:
            self._proposal = None

    async def _settled(self, version: int) -> None:
        """Return when no replica can decide on a state before ``version`` any more."""
        while True:
            now = self._monotonic()
            until = self._leases.last_use(version)
            if until <= now:
                return
            await self._change(until - now)

    def _number(self) -> int:
        return 0 if self._proposal is None else self._proposal.number

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _change(self, timeout_s: float) -> bool:
        """Wait until something changes; return False when nothing did in time."""
        changed = self._changed
        try:
            await asyncio.wait_for(changed.wait(), timeout_s)
        except TimeoutError:
            return False
        return True


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
