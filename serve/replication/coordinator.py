"""The coordinator: the one writer of the service's state, and what it tells the replicas.

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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from rllib_tactical.bundle.bundle import copy_bundle, load_bundle
from rllib_tactical.config.service import ServiceConfig
from rllib_tactical.errors import DataError, ServiceError, TacticalError, UnreadableError
from serve.api.errors import RequestError, error_body
from serve.api.write_requests import (
    BarsRequest,
    FillsRequest,
    ModelRequest,
    OverrideRequest,
    WriteRequest,
)
from serve.observability.logs import log_to_folder
from serve.observability.metrics import TradeTelemetry
from serve.state.journal import Journal
from serve.state.leases import Leases, Report
from serve.state.machine import (
    BarsRecord,
    ControlRecord,
    FillsRecord,
    ModelRecord,
    Record,
    SessionRecord,
    Snapshot,
    StateMachine,
    model_record,
)
from serve.state.performance import agent_accuracy, performance_report

_LOG = logging.getLogger(__name__)
COPIES: Final = "bundles"
"""Folder in the state's with the bundle that was chosen."""

_ENCODE: Final = msgspec.msgpack.Encoder().encode
_DECODE_RECORD: Final = msgspec.json.Decoder(
    ModelRecord | BarsRecord | FillsRecord | ControlRecord | SessionRecord
).decode
_JSON: Final = msgspec.json.Encoder().encode

Answer = tuple[int, bytes]
"""HTTP status and JSON body."""


class Proposal(msgspec.Struct, frozen=True):
    """A bundle that every replica is asked to load and warm up, without using it yet."""

    number: int
    path: str
    bundle_id: str


class View(msgspec.Struct, frozen=True):
    """What a poll is answered with. ``snapshot`` None when the replica has this version already.

    ``bundle_copy``: where the coordinator keeps the chosen bundle, on its own node.
    """

    version: int
    lease_s: float
    snapshot: Snapshot | None
    proposal: Proposal | None
    bundle_copy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CoordinatorSettings:
    """What the coordinator needs to start.

    ``model`` is the bundle that the service was started with, its ``launch`` naming that start: a
    coordinator that comes back within one start goes on with whatever bundle was chosen since.
    """

    state_folder: str
    model: ModelRecord
    service: ServiceConfig
    log_folder: str | None = None
    log_level: str = "INFO"


def open_state(settings: CoordinatorSettings) -> tuple[Journal, StateMachine]:
    """Open the state folder, read its journal and choose the bundle of this start.

    Raises:
        ServiceError: the folder is in use, damaged or about another market than the bundle.
    """
    journal = Journal(Path(settings.state_folder))
    try:
        machine = StateMachine()
        for raw in journal.records():
            machine.apply(_DECODE_RECORD(raw))
        live_bars, chosen = settings.service.live_bars, machine.model
        if chosen is None or machine.launch != settings.model.launch:
            machine.check_model(settings.model)
            chosen = settings.model
        if chosen is not machine.model or chosen.live_bars != live_bars:
            chosen = replace(chosen, live_bars=live_bars)
            journal.append(chosen)
            machine.apply(chosen)
    except BaseException as error:
        journal.close()
        if isinstance(error, TacticalError):
            raise ServiceError(f"state folder {settings.state_folder}: {error}") from error
        if isinstance(error, msgspec.DecodeError):
            raise ServiceError(
                f"state folder {settings.state_folder} was written by another version: {error}"
            ) from error
        raise
    return journal, machine


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
            log_to_folder(Path(settings.log_folder), "keeper", settings.log_level)
        self._telemetry = TradeTelemetry()
        self._clock, self._monotonic = clock, monotonic
        self._journal, self._machine = open_state(settings)
        self._machine.agent_accuracy = agent_accuracy(self._machine.trades)
        self._copies = Path(settings.state_folder) / COPIES
        assert self._machine.model is not None
        try:
            self._keep(self._machine.model)
        except (TacticalError, OSError) as error:  # it is needed only once the folder has changed
            _LOG.warning("the bundle is not kept: %s", error)
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
        assert self._machine.model is not None
        copy = str(self._copies / self._machine.model.bundle_id)
        version, lease_s = self._machine.version, self._service.lease_s
        return _ENCODE(View(version, lease_s, snapshot, self._proposal, copy))

    async def leave(self, replica: str) -> None:
        """Forget a replica that stops: no write needs to wait for it."""
        self._leases.end(replica)
        self._wake()

    async def write(self, request: WriteRequest) -> Answer:
        """Accept a write: journal it, apply it, and answer when every replica knows of it."""
        try:
            if isinstance(request, ModelRequest):
                body = await self._reload(request)
            else:
                body = self._accept(request)
        except RequestError as error:
            return error.status, _JSON(error.body())
        except ServiceError as error:
            _LOG.error("a write was not accepted: %s", error)
            return 503, _JSON(error_body("state_unavailable", "the state cannot be written"))
        await self._settled(self._machine.version)
        return 200, _JSON({**body, "version": self._machine.version})

    async def performance(self, days: int) -> Answer:
        """Return the trading figures of the last ``days`` days."""
        assert self._machine.model is not None
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
        """Let go of the state folder."""
        self._journal.close()

    def _accept(self, request: WriteRequest) -> dict[str, Any]:
        now = self._clock()
        if isinstance(request, BarsRequest):
            bars, body = self._machine.check_bars(request, now)
            self._commit(bars)
            market = self._machine.snapshot().market
            assert market is not None
            return {
                **body,
                "last_timestamp": market.last_s,
                "bars": market.bars,
                "ready": market.ready,
                "degraded": market.bars_since_gap is not None,
            }
        if isinstance(request, FillsRequest):
            fills, body = self._machine.check_fills(request, now)
            self._commit(fills)
            account = self._machine.snapshot().account
            return {
                **body,
                "position": account.side * account.quantity,
                "equity": account.equity,
                "halted": account.halted,
            }
        assert isinstance(request, OverrideRequest)
        order = self._machine.check_control(request, now)
        self._commit(order)
        return {"override": self._machine.control.value, "repeated": order is None}

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

    async def _reload(self, request: ModelRequest) -> dict[str, Any]:
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
            assert previous is not None
            body = {"bundle_id": record.bundle_id, "previous": previous.bundle_id}
            if (record.bundle_id, record.path) != (previous.bundle_id, previous.path):
                await self._propose(record)
                try:
                    self._keep(record)
                except OSError as error:
                    raise ServiceError(f"the bundle cannot be kept: {error}") from error
                except TacticalError as error:  # exchanged since it was read
                    raise _refused(str(error)) from error
                self._commit(record)
            return body

    def _keep(self, record: ModelRecord) -> None:
        """Copy a chosen bundle, for replicas that start when its own folder holds another one.

        Raises:
            TacticalError: it is not in its folder any more.
            OSError: the copy cannot be written.
        """
        if not (self._copies / record.bundle_id).is_dir():
            copy_bundle(Path(record.path), record.bundle_id, self._copies / record.bundle_id)
        kept = {record.bundle_id, self._machine.model and self._machine.model.bundle_id}
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
