"""The replica's side of the state: its copy, the lease on it, and the bundle that goes with it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from rllib_tactical.config.service import ServiceConfig
from rllib_tactical.errors import ServiceError, TacticalError
from serve.api.write_requests import WriteRequest
from serve.decision.decider import Decider
from serve.decision.risk_state import RiskState
from serve.replication.messages import Proposal, Reply, View
from serve.state.leases import Report
from serve.state.machine import Snapshot

_LOG = logging.getLogger(__name__)
_RETRY_AFTER_S: Final = 0.2
_DECODE: Final = msgspec.msgpack.Decoder(View).decode


class CoordinatorPort(Protocol):
    """How a replica reaches the coordinator; see ``Coordinator`` for what the calls do."""

    async def poll(self, replica: str, have: int, seen: int, report: Report | None) -> bytes:
        """See ``Coordinator.poll``."""

    async def write(self, request: WriteRequest) -> Reply:
        """See ``Coordinator.write``."""

    async def performance(self, days: int) -> Reply:
        """See ``Coordinator.performance``."""

    async def leave(self, replica: str) -> None:
        """See ``Coordinator.leave``."""


Load = Callable[[str, str], Decider]
"""Returns a warm decider of the bundle at a path, which must have the given id."""


@dataclass(frozen=True, slots=True)
class Active:
    """The bundle and the state in use; replaced together, so that they always match."""

    decider: Decider
    state: RiskState


class StateReplica:
    """Keeps a replica's copy of the state current.

    Args:
        port: the coordinator.
        load: makes deciders; called in a thread.
        name: identity of this replica.
        service: the timing.
        monotonic: seconds that only grow.
        clock: epoch time in seconds.
    """

    def __init__(
        self,
        port: CoordinatorPort,
        load: Load,
        name: str,
        service: ServiceConfig,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._port, self._load, self._name = port, load, name
        self._service, self._monotonic, self._clock = service, monotonic, clock
        self._active: Active | None = None
        self._version = -1
        self._lease_until = -float("inf")
        self._seen = 0
        self._report: Report | None = None
        self._prepared: Decider | None = None
        self._preparing: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def active(self) -> Active:
        """The bundle and the state to decide with, whether or not the lease still runs.

        Raises:
            ServiceError: the replica has not started.
        """
        if self._active is None:
            raise ServiceError("start() must be awaited before a decision, found no state yet")
        return self._active

    @property
    def fresh(self) -> bool:
        """Whether the lease runs: decisions may rely on the state."""
        return self._monotonic() < self._lease_until

    @property
    def age_s(self) -> float:
        """Seconds since the state was last known to be current."""
        return max(0.0, self._monotonic() - self._lease_until + self._service.lease_s)

    async def start(self) -> None:
        """Get the state and the bundle, then follow the coordinator in the background.

        Raises:
            TacticalError: the bundle cannot be loaded.
        """
        await self._once()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop following and let the coordinator know."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._lease_until = -float("inf")
        await self._port.leave(self._name)

    async def _run(self) -> None:
        while True:
            try:
                await self._once()
            except asyncio.CancelledError:
                raise
            except Exception:
                # on any error the lease runs out and decisions hold
                _LOG.exception("the state could not be renewed, trying again")
                await asyncio.sleep(_RETRY_AFTER_S)

    async def _once(self) -> None:
        asked = self._monotonic()
        reply = await self._port.poll(self._name, self._version, self._seen, self._report)
        view = _DECODE(reply)
        if view.snapshot is not None:
            await self._install(view.snapshot, view.bundle_copy)
            self._version = view.version
        if view.version == self._version:
            self._lease_until = asked + view.lease_s
        self._consider(view.proposal)

    async def _install(self, snapshot: Snapshot, bundle_copy: str) -> None:
        decider = None if self._active is None else self._active.decider
        wanted = snapshot.bundle_id
        if decider is None or decider.bundle.bundle_id != wanted:
            decider = self._prepared
            if decider is None or decider.bundle.bundle_id != wanted:
                decider = await self._loaded(wanted, snapshot.bundle_path, bundle_copy)
            self._prepared = None
        self._active = Active(decider, RiskState.of(snapshot, self._service))

    async def _loaded(self, wanted: str, path: str, bundle_copy: str) -> Decider:
        """Return the chosen bundle; from the coordinator's copy if its folder holds another."""
        try:
            return await asyncio.to_thread(self._load, path, wanted)
        except TacticalError as error:
            try:
                return await asyncio.to_thread(self._load, bundle_copy, wanted)
            except TacticalError:
                raise error from None

    def _consider(self, proposal: Proposal | None) -> None:
        """Start to load a proposed bundle; drop what was loaded for one that came to nothing."""
        if proposal is None:
            if self._seen:
                self._seen, self._report, self._prepared = 0, None, None
            return
        if proposal.number != self._seen:
            self._seen, self._report = proposal.number, None
            self._preparing = asyncio.create_task(self._prepare(proposal))

    async def _prepare(self, proposal: Proposal) -> None:
        error = None
        try:
            decider = await asyncio.to_thread(self._load, proposal.path, proposal.bundle_id)
        except TacticalError as refused:
            error = str(refused)
        except Exception as failure:
            _LOG.exception("a proposed bundle could not be loaded")
            error = f"{type(failure).__name__}: {failure}"
        if proposal.number != self._seen:
            return
        if error is None:
            self._prepared = decider
        self._report = Report(proposal.number, error)
