"""One process that decides: what it decides with, kept current from the store."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from rllib_tactical.config.service import ServiceConfig
from rllib_tactical.domain.types import Reason
from rllib_tactical.errors import ServiceError, TacticalError
from serve.decision.decider import Decider
from serve.decision.risk_state import RiskState
from serve.decision.writer import StateWriter
from serve.journal.recorder import DecisionRecorder
from serve.state.availability import Availability
from serve.state.clock import ClockWatch
from serve.state.machine import CONTROLS, StateMachine
from serve.state.opening import OpenState, StateSettings
from serve.state.performance import Scores, scores_by_bundle
from serve.state.records import ControlRecord, ModelRecord, ProposalRecord
from serve.state.store import StoreError

_LOG = logging.getLogger(__name__)
_RETRY_LOAD_S: Final = 1.0

Load = Callable[[str, str], Decider]
"""Returns a warm decider of the bundle at a path, which must have the given id."""


@dataclass(frozen=True, slots=True)
class Active:
    """What to decide with; ``hold``: why the answer has to be hold, None when it need not be.

    ``version``: of the state.
    """

    decider: Decider
    state: RiskState
    hold: Reason | None
    version: int


class StateReplica:
    """Follows the state before each decision, and loads the bundle that it names.

    Args:
        settings: where the state is.
        load: makes deciders; called in a thread.
        service: the timing.
        monotonic: seconds that only grow.
        clock: epoch time in seconds.
    """

    def __init__(
        self,
        settings: StateSettings,
        load: Load,
        service: ServiceConfig,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings, self._load, self._service = settings, load, service
        self._monotonic, self._clock = monotonic, clock
        self.availability = Availability(service.lease_s, monotonic)
        self._opened: OpenState | None = None
        self._watch: ClockWatch | None = None
        self._writer: StateWriter | None = None
        self._recorder: DecisionRecorder | None = None
        self._decider: Decider | None = None
        self._prepared: Decider | None = None
        self._loading: asyncio.Task[None] | None = None
        self._state: RiskState | None = None
        self._of: tuple[int, ControlRecord | None, bool] = (-1, None, False)
        self._scores: tuple[tuple[int, int], Scores] = (-1, 0), {}
        self.load_failures = 0
        self._tending: asyncio.Task[None] | None = None

    @property
    def machine(self) -> StateMachine:
        """The state as this process last saw it.

        Raises:
            ServiceError: the replica has not started.
        """
        return self._open.shared.machine

    @property
    def writer(self) -> StateWriter:
        """What changes the state.

        Raises:
            ServiceError: the replica has not started.
        """
        if self._writer is None:
            raise _not_started()
        return self._writer

    @property
    def recorder(self) -> DecisionRecorder:
        """What keeps the decisions.

        Raises:
            ServiceError: the replica has not started.
        """
        if self._recorder is None:
            raise _not_started()
        return self._recorder

    @property
    def broken(self) -> bool:
        """Whether only a new start of this process can help."""
        return self._opened is not None and self._opened.shared.broken

    def active(self) -> Active:
        """Return what to decide with now, with everything that is committed in the store.

        Raises:
            ServiceError: the replica has not started.
        """
        opened, decider = self._open, self._decider
        hold = self._follow(opened)
        order = opened.order.read()
        machine = opened.shared.machine
        jump_s = self._watch.jump_s(machine.witness()) if self._watch is not None else 0.0
        if self._state is None or self._of != (machine.version, order, bool(jump_s)):
            snapshot = machine.snapshot()
            if order is not None:
                snapshot = replace(snapshot, control=CONTROLS[order.action])
            self._state = RiskState.of(snapshot, self._service, jump_s)
            self._of = machine.version, order, bool(jump_s)
        if decider is None:
            raise _not_started()
        if hold is None and decider.bundle.bundle_id != machine.model.bundle_id:
            hold = self._change_over(machine.model)
            decider = self._decider or decider
        elif hold is Reason.STATE_UNAVAILABLE and order is not None:
            hold = None  # an order to stop stands also without the store
        if machine.proposal is not None and hold is None:
            self._consider(machine.proposal)
        return Active(decider, self._state, hold, machine.version)

    async def scores(self) -> Scores:
        """Return, by bundle, the closed trades with known votes and how often agents were right."""
        version = self.machine.trades_version
        if self._scores[0] != version:
            trades = list(self.machine.trades)
            self._scores = version, await asyncio.to_thread(scores_by_bundle, trades)
        return self._scores[1]

    async def start(self) -> None:
        """Open the state, load its bundle, and follow both in the background.

        Raises:
            ServiceError: the state cannot be opened.
            TacticalError: the bundle cannot be loaded.
        """
        self._opened = opened = await asyncio.to_thread(OpenState, self._settings)
        self._writer = StateWriter(
            opened,
            Path(self._settings.folder),
            self.availability,
            self._service,
            self._prepare,
            self._clock,
        )
        model = self.machine.model
        if self._service.live_bars:  # in a replay nothing depends on the clock
            folder = Path(self._settings.folder)
            self._watch = ClockWatch(folder, model.bar_seconds, self._clock)
        self._decider = await asyncio.to_thread(self._loaded, model)
        try:
            await asyncio.to_thread(self._writer.promotion.keep_copy, model)
        except (TacticalError, OSError) as error:
            # replicas need the copy only once the bundle's own folder has changed
            _LOG.warning("the bundle is not copied to the state folder: %s", error)
        await self._writer.probe()
        self._recorder = DecisionRecorder(opened.journal, self._monotonic)
        self._recorder.start()
        self._tending = asyncio.create_task(self._tend())

    async def stop(self) -> None:
        """Stop following and close the state."""
        for task in (self._tending, self._loading):
            if task is not None:
                task.cancel()
        self._tending = None
        if self._recorder is not None:
            await self._recorder.stop()
            self._recorder = None
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    @property
    def _open(self) -> OpenState:
        if self._opened is None:
            raise _not_started()
        return self._opened

    def _follow(self, opened: OpenState) -> Reason | None:
        if not self.availability.ok:
            if opened.store.local and not self.availability.hangs:
                with suppress(StoreError):  # a full disk can be read: flatten closes what is held
                    opened.shared.refresh()
            return Reason.STATE_UNAVAILABLE
        try:
            opened.shared.refresh()
        except StoreError as error:
            self.availability.failed(error)
            return Reason.STATE_UNAVAILABLE
        return None

    async def _tend(self) -> None:
        writer = self.writer
        while True:
            await asyncio.sleep(self._service.poll_s)
            try:
                if self.availability.due:
                    await writer.probe()
                await writer.tend()
                self.active()
            except StoreError:
                continue  # noted where it was raised; decisions hold
            except TacticalError as error:
                _LOG.error("the state was not tended: %s", error)
            except Exception:
                _LOG.exception("the state was not tended")

    def _change_over(self, model: ModelRecord) -> Reason | None:
        """Decide with the chosen bundle from now on, or load it and hold meanwhile."""
        prepared = self._prepared
        if prepared is not None and prepared.bundle.bundle_id == model.bundle_id:
            self._decider, self._prepared = prepared, None
            return None
        if self._loading is None or self._loading.done():
            self._loading = asyncio.create_task(self._load_in_time(model))
        return Reason.MODEL_LOADING

    def _consider(self, proposal: ProposalRecord) -> None:
        """Load a bundle that is about to be chosen."""
        known = self._prepared or self._decider
        if known is not None and known.bundle.bundle_id == proposal.bundle_id:
            return
        if self._loading is None or self._loading.done():
            self._loading = asyncio.create_task(self._load_in_time(proposal))

    async def _load_in_time(self, wanted: ModelRecord | ProposalRecord) -> None:
        try:
            self._prepared = await asyncio.to_thread(self._loaded, wanted)
        except Exception:
            self.load_failures += 1
            _LOG.exception("a bundle could not be loaded, trying again")
            await asyncio.sleep(_RETRY_LOAD_S)

    def _prepare(self, record: ModelRecord) -> None:
        self._prepared = self._load(record.path, record.bundle_id)

    def _loaded(self, wanted: ModelRecord | ProposalRecord) -> Decider:
        """Return the bundle; from the copy in the state folder if its own folder has another."""
        try:
            return self._load(wanted.path, wanted.bundle_id)
        except TacticalError as error:
            try:
                return self._load(str(self.writer.promotion.copy_of(wanted)), wanted.bundle_id)
            except TacticalError:
                raise error from None


def _not_started() -> ServiceError:
    return ServiceError("start() must be awaited before a decision, found no state yet")
