"""One process that decides: what it decides with, kept current from the store."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rllib_tactical.config.service import ServiceConfig
from rllib_tactical.domain.types import Reason
from rllib_tactical.errors import ServiceError, TacticalError
from serve.decision.decider import Decider
from serve.decision.risk_state import RiskState
from serve.decision.symbol_replica import Load, SymbolReplica
from serve.decision.writer import StateWriter
from serve.journal.recorder import DecisionRecorder
from serve.state.availability import Availability
from serve.state.clock import ClockWatch
from serve.state.machine import StateMachine
from serve.state.opening import OpenState, StateSettings
from serve.state.performance import Scores
from serve.state.records import Challenger, ModelRecord
from serve.state.store import Store, StoreError

_LOG = logging.getLogger(__name__)
_RETRY_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Active:
    """What to decide with for one symbol.

    ``hold``: why the answer has to be hold, None when it need not be; ``version``: of the state.
    """

    decider: Decider
    state: RiskState
    hold: Reason | None
    version: int


class StateReplica:
    """Follows the state before each decision, and loads the bundles that it names.

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
        self._symbols: dict[str, SymbolReplica] = {}
        self._tending: list[asyncio.Task[None]] = []

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
    def live_bars(self) -> bool:
        """Whether bars are of now, so that the clock says when the next one is due."""
        return self._service.live_bars

    @property
    def stores(self) -> tuple[Store, Store]:
        """The stores of the state and of the journal, to read from.

        Raises:
            ServiceError: the replica has not started.
        """
        return self._open.store, self._open.journal

    @property
    def broken(self) -> bool:
        """Whether only a new start of this process can help."""
        return self._opened is not None and self._opened.shared.broken

    @property
    def symbols(self) -> Collection[str]:
        """The symbols that are served."""
        return self._symbols.keys()

    def active(self, symbol: str | None = None) -> Active:
        """Return what to decide with now, with everything that is committed in the store.

        Args:
            symbol: one of ``symbols``; the only one when omitted.

        Raises:
            ServiceError: the replica has not started.
        """
        opened = self._open
        own = self._of(symbol)
        hold = self._follow(opened)
        order = opened.orders.read(own.symbol)
        machine = opened.shared.machine
        jump_s = self._watch.jump_s(machine.witness()) if self._watch is not None else 0.0
        state, chosen = own.state(machine, order, jump_s), machine.symbols[own.symbol]
        if hold is None:
            hold = own.follow(machine.deciding(own.symbol))
        elif hold is Reason.STATE_UNAVAILABLE and order is not None:
            hold = None  # an order to stop stands also without the store
        if chosen.proposal is not None and hold is None:
            own.consider(chosen.proposal)
        return Active(own.decider, state, hold, machine.version)

    def all_active(self) -> dict[str, Active]:
        """Return what to decide with for each symbol, see ``active``."""
        return {symbol: self.active(symbol) for symbol in self._symbols}

    def prepare(self) -> None:
        """Have each bundle look at its newest bars now: no decision on them waits for that."""
        for active in self.all_active().values():
            active.decider.prepare(active.state)

    async def scores(self, symbol: str | None = None) -> Scores:
        """Return, by bundle, the closed trades with known votes and how often agents were right."""
        return await self._of(symbol).scores(self.machine)

    @property
    def load_failures(self) -> int:
        """How often a chosen bundle could not be loaded."""
        return sum(own.load_failures for own in self._symbols.values())

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
            lambda record: self._symbols[record.symbol].prepare(record),
            self._clock,
        )
        machine, promotion = self.machine, self._writer.promotion
        models = [machine.symbols[symbol].model for symbol in machine.served]
        if self._service.live_bars:  # in a replay nothing depends on the clock
            folder = Path(self._settings.folder)
            self._watch = ClockWatch(
                folder, max(model.bar_seconds for model in models), self._clock
            )
        for model in models:
            own = SymbolReplica(model.symbol, self._load, promotion.copy_of, self._service)
            await own.start(model)
            self._symbols[model.symbol] = own
        await self._keep_arms()
        for model in models:
            try:
                await asyncio.to_thread(promotion.keep_copy, model)
            except (TacticalError, OSError) as error:
                # replicas need the copy only once the bundle's own folder has changed
                _LOG.warning("the bundle is not copied to the state folder: %s", error)
        await self._writer.probe()
        self._recorder = DecisionRecorder(opened.journal, self._monotonic)
        self._recorder.start()
        self._tending = [asyncio.create_task(self._tend()), asyncio.create_task(self._roll_back())]

    async def stop(self) -> None:
        """Stop following and close the state."""
        for own in self._symbols.values():
            own.stop()
        for task in self._tending:
            task.cancel()
        self._tending = []
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

    def _of(self, symbol: str | None) -> SymbolReplica:
        if symbol is None and len(self._symbols) == 1:
            return next(iter(self._symbols.values()))
        if symbol not in self._symbols:
            raise _not_started()
        return self._symbols[symbol]

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
                self.prepare()
            except StoreError:
                continue  # noted where it was raised; decisions hold
            except TacticalError as error:
                _LOG.error("the state was not tended: %s", error)
            except Exception:
                _LOG.exception("the state was not tended")

    async def _keep_arms(self) -> None:
        """Have the bundles that take turns ready, and a copy of each beside the state."""
        machine, experiment = self.machine, self.machine.experiment
        for symbol, own in self._symbols.items():
            arms = experiment.of(symbol) if experiment.is_split else ()
            wanted: list[ModelRecord | Challenger] = [*arms]
            if arms:
                wanted.append(machine.symbols[symbol].model)
            if own.kept != {each.bundle_id for each in wanted}:
                for each in arms:
                    await asyncio.to_thread(self.writer.promotion.keep_copy, each)
                await own.keep(wanted)

    async def _roll_back(self) -> None:
        """Choose former bundles where that is due, and have those that take turns ready.

        Nothing else waits for their loading.
        """
        promotion, pause_s = self.writer.promotion, self._service.poll_s
        while True:
            await asyncio.sleep(pause_s)
            pause_s = self._service.poll_s
            if not self.availability.ok:
                continue
            try:
                await promotion.roll_back()
                await self._keep_arms()
            except Exception as error:
                pause_s = _RETRY_S
                _LOG.error("a bundle could not be made ready: %s", error)


def _not_started() -> ServiceError:
    return ServiceError("start() must be awaited before a decision, found no state yet")
