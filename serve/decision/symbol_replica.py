"""What one process decides with for one symbol: the bundle in force and the state of now."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from rllib_tactical.config.service import ServiceConfig
from rllib_tactical.domain.types import Reason
from rllib_tactical.errors import ServiceError, TacticalError
from serve.decision.decider import Decider
from serve.decision.risk_state import RiskState
from serve.state.machine import StateMachine
from serve.state.performance import Scores, scores_by_bundle
from serve.state.records import Challenger, ControlRecord, ModelRecord, ProposalRecord
from serve.state.symbol_machine import CONTROLS

_LOG = logging.getLogger(__name__)
_RETRY_LOAD_S: Final = 1.0

Load = Callable[[str, str], Decider]
"""Returns a warm decider of the bundle at a path, which must have the given id."""


class SymbolReplica:
    """Keeps the decider of one symbol and its state current.

    Args:
        symbol: one that is served.
        load: makes deciders; called in a thread.
        copy_of: returns where the copy of a chosen bundle is.
        service: how old bars may be.
    """

    def __init__(
        self,
        symbol: str,
        load: Load,
        copy_of: Callable[[ModelRecord | ProposalRecord | Challenger], Path],
        service: ServiceConfig,
    ) -> None:
        self.symbol = symbol
        self._load, self._copy_of, self._service = load, copy_of, service
        self._decider: Decider | None = None
        self._prepared: Decider | None = None
        self._arms: dict[str, Decider] = {}
        self._loading: asyncio.Task[None] | None = None
        self._state: RiskState | None = None
        self._of: tuple[int, bool, ControlRecord | None, bool] = (-1, False, None, False)
        self._scores: tuple[tuple[int, int], Scores] = (-1, 0), {}
        self.load_failures = 0

    @property
    def decider(self) -> Decider:
        """What decides now.

        Raises:
            ServiceError: no bundle has been loaded.
        """
        if self._decider is None:
            raise ServiceError(f"a bundle for {self.symbol} must be loaded, found none")
        return self._decider

    @property
    def kept(self) -> set[str]:
        """The bundles that are kept ready, see ``keep``."""
        return set(self._arms)

    async def start(self, model: ModelRecord) -> None:
        """Load the first bundle.

        Raises:
            TacticalError: it cannot be loaded.
        """
        self._decider = await asyncio.to_thread(self._loaded, model)

    def stop(self) -> None:
        """Load nothing any more."""
        if self._loading is not None:
            self._loading.cancel()

    def state(self, machine: StateMachine, order: ControlRecord | None, jump_s: float) -> RiskState:
        """Return the state of now, the same object as long as nothing in it has changed.

        Args:
            machine: the state of the service.
            order: what stands without the store, None for nothing.
            jump_s: by how many seconds the clock has jumped.
        """
        known = machine.symbols[self.symbol].version, machine.total.halted, order, bool(jump_s)
        if self._state is None or self._of != known:
            snapshot = machine.snapshot(self.symbol)
            if order is not None:
                snapshot = replace(snapshot, control=CONTROLS[order.action])
            self._state = RiskState.of(snapshot, self._service, jump_s)
            self._of = known
        return self._state

    def follow(self, model: ModelRecord | Challenger) -> Reason | None:
        """Decide with the chosen bundle from now on, or load it and hold meanwhile."""
        if self.decider.bundle.bundle_id == model.bundle_id:
            return None
        if (kept := self._arms.get(model.bundle_id)) is not None:
            self._decider = kept
            return None
        prepared = self._prepared
        if prepared is not None and prepared.bundle.bundle_id == model.bundle_id:
            self._decider, self._prepared = prepared, None
            return None
        if self._loading is None or self._loading.done():
            self._loading = asyncio.create_task(self._load_in_time(model))
        return Reason.MODEL_LOADING

    def consider(self, proposal: ProposalRecord) -> None:
        """Load a bundle that is about to be chosen."""
        known = self._prepared or self._decider
        if known is not None and known.bundle.bundle_id == proposal.bundle_id:
            return
        if self._loading is None or self._loading.done():
            self._loading = asyncio.create_task(self._load_in_time(proposal))

    async def keep(self, wanted: Sequence[ModelRecord | Challenger]) -> None:
        """Keep bundles that take turns to decide ready, so that no turn waits for its bundle.

        Raises:
            TacticalError: one of them cannot be loaded.
        """
        self._arms = {
            each.bundle_id: self._arms[each.bundle_id]
            for each in wanted
            if each.bundle_id in self._arms
        }
        for each in wanted:
            if each.bundle_id == self.decider.bundle.bundle_id:
                self._arms[each.bundle_id] = self.decider
            elif each.bundle_id not in self._arms:
                self._arms[each.bundle_id] = await asyncio.to_thread(self._loaded, each)

    def prepare(self, record: ModelRecord) -> None:
        """Load and warm a bundle, so that ``follow`` can change over to it; takes a while.

        Raises:
            TacticalError: it cannot be loaded.
        """
        self._prepared = self._load(record.path, record.bundle_id)

    async def scores(self, machine: StateMachine) -> Scores:
        """Return, by bundle, the closed trades with known votes and how often agents were right."""
        own = machine.symbols[self.symbol]
        version = own.trades_version
        if self._scores[0] != version:
            trades = list(own.trades)
            self._scores = version, await asyncio.to_thread(scores_by_bundle, trades)
        return self._scores[1]

    async def _load_in_time(self, wanted: ModelRecord | ProposalRecord | Challenger) -> None:
        try:
            self._prepared = await asyncio.to_thread(self._loaded, wanted)
        except Exception:
            self.load_failures += 1
            _LOG.exception("a bundle could not be loaded, trying again")
            await asyncio.sleep(_RETRY_LOAD_S)

    def _loaded(self, wanted: ModelRecord | ProposalRecord | Challenger) -> Decider:
        """Return the bundle; from the copy in the state folder if its own folder has another."""
        try:
            return self._load(wanted.path, wanted.bundle_id)
        except TacticalError as error:
            try:
                return self._load(str(self._copy_of(wanted)), wanted.bundle_id)
            except TacticalError:
                raise error from None
