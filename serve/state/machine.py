"""The state of the service, a state machine: all symbols, and the limits over their sum.

A write is checked against the state, written to the store as a record, and applied. Every replica
applies the same records and gets the same state. Nothing here reads a clock or a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import msgspec

from rllib_tactical.domain.decision.override import Control
from rllib_tactical.domain.simulation.account import Account
from rllib_tactical.errors import ServiceError
from serve.api.errors import invalid
from serve.api.write_requests import AccountRequest, BarsRequest, FillsRequest, OverrideRequest
from serve.state.bars import BarPlan, BufferState
from serve.state.clock import Witness
from serve.state.experiment import Experiment, ExperimentState
from serve.state.fills import FillPlan
from serve.state.records import (
    AccountRecord,
    BarsRecord,
    Challenger,
    ControlRecord,
    ExperimentRecord,
    FillsRecord,
    ModelRecord,
    Record,
    ServingRecord,
    time_of,
)
from serve.state.request_keys import RequestKeys, not_in_force
from serve.state.symbol_machine import CONTROLS, SymbolImage, SymbolMachine
from serve.state.total import Total, TotalState


class Snapshot(msgspec.Struct, frozen=True):
    """What a decision needs to know of one symbol at one version of the state."""

    control: Control
    account: Account
    market: BufferState | None
    broker_position: float | None = None
    """What the broker holds, in lots, while that is not what the fills say."""


class MachineImage(msgspec.Struct, frozen=True):
    """Everything that a ``StateMachine`` holds, for snapshots.

    ``requests`` has the operator's orders by request id.
    """

    version: int
    record_s: float
    requests: dict[str, str]
    symbols: list[SymbolImage]
    served: tuple[str, ...]
    total: TotalState
    experiment: ExperimentState = ExperimentState()


_PACK: Final = msgspec.msgpack.Encoder().encode
_UNPACK: Final = msgspec.msgpack.Decoder(MachineImage).decode


class StateMachine:
    """The state of the service.

    ``symbols``: the state of each symbol, also of those that the service was last started without;
    ``served``: those that it was last started with.

    Args:
        model: the first record; it names the first symbol's bundle.
    """

    def __init__(self, model: ModelRecord) -> None:
        first = SymbolMachine(model)
        self.symbols = {first.symbol: first}
        self.served: tuple[str, ...] = (first.symbol,)
        self.total = Total(first.account.equity)
        self.experiment = Experiment()
        self.version = 1
        self._record_s, self._resumed, self._bar_end_s = 0.0, 0, 0.0
        self._requests = RequestKeys()

    def dump(self) -> bytes:
        """Return all of the state, which ``load`` makes a machine of."""
        image = MachineImage(
            self.version,
            self._record_s,
            self._requests.image(),
            [machine.image() for machine in self.symbols.values()],
            self.served,
            self.total.state(),
            self.experiment.state(),
        )
        return _PACK(image)

    @classmethod
    def load(cls, data: bytes) -> StateMachine:
        """Return the machine that was dumped.

        Raises:
            ServiceError: another version dumped it.
        """
        try:
            image = _UNPACK(data)
        except msgspec.DecodeError as error:
            raise ServiceError(f"the snapshot is of another version: {error}") from error
        machines = [SymbolMachine.resumed(each) for each in image.symbols]
        machine = cls(machines[0].model)
        machine.symbols = {each.symbol: each for each in machines}
        machine.version, machine._record_s = image.version, image.record_s
        machine._requests.resume(image.requests)
        machine.served = image.served
        machine.experiment.resume(image.experiment)
        machine.total.resume(image.total, machine._equity())
        for each in machines:
            machine._note_bar(each)
        return machine

    def of(self, symbol: str | None = None) -> SymbolMachine:
        """Return the state of one symbol; of the only one when it is omitted.

        Raises:
            ServiceError: there is no such symbol, or more than one.
        """
        if symbol is None and len(self.symbols) == 1:
            return next(iter(self.symbols.values()))
        if symbol not in self.symbols:
            known = ", ".join(self.symbols)
            raise ServiceError(f"symbol must be one of {known}, found {symbol}")
        return self.symbols[symbol]

    def deciding(self, symbol: str) -> ModelRecord | Challenger:
        """Return the bundle that decides for a symbol now: the champion, or a challenger."""
        own = self.symbols[symbol]
        return self.experiment.deciding(symbol, own.sessions) or own.model

    @property
    def left_out(self) -> tuple[str, ...]:
        """Symbols whose state is kept, and that the service was started without."""
        return tuple(symbol for symbol in self.symbols if symbol not in self.served)

    def check_promotion(self, record: ModelRecord) -> ModelRecord | None:
        """Return the record to write for a promoted bundle, None when it is a repeat.

        Raises:
            RequestError: see ``SymbolMachine.check_promotion``.
            ServiceError: the bundle is for a market that is not served; names how it differs.
        """
        symbol = record.symbol
        if symbol not in self.served:
            if len(self.served) > 1:
                known = ", ".join(self.served)
                raise ServiceError(f"the bundle must be for one of {known}, found {symbol!r}")
            symbol = self.served[0]  # which says how the other market differs
        return self.symbols[symbol].check_promotion(record)

    def check_launch(
        self,
        given: Sequence[ModelRecord],
        serving: ServingRecord,
        experiment: ExperimentRecord,
    ) -> Record | None:
        """Return the next record to write when the service is started, None when none is left.

        Args:
            given: the bundles, one for each symbol.
            serving: the symbols and the limits over their sum.
            experiment: the challengers.

        Raises:
            ServiceError: see ``SymbolMachine.check_model``.
        """
        for model in given:
            known = self.symbols.get(model.symbol)
            if known is None and len(given) == len(self.symbols) == 1:
                known = self.of()  # which refuses the other market
            record = model if known is None else known.check_launch(model)
            if record is not None:
                return record
        if serving != self._serving:
            return serving
        return None if experiment == self.experiment.record else experiment

    def check_bars(self, request: BarsRequest, now_s: float) -> tuple[BarsRecord | None, BarPlan]:
        """See ``SymbolMachine.check_bars``; 422 for a symbol that is not served."""
        return self.asked(request.symbol).check_bars(request, now_s)

    def check_fills(
        self, request: FillsRequest, now_s: float
    ) -> tuple[FillsRecord | None, FillPlan]:
        """See ``SymbolMachine.check_fills``; 422 for a symbol that is not served."""
        return self.asked(request.symbol).check_fills(request, now_s)

    def check_account(self, request: AccountRequest, now_s: float) -> AccountRecord | None:
        """See ``SymbolMachine.check_account``; 422 for a symbol that is not served."""
        return self.asked(request.symbol).check_account(request, now_s)

    def check_control(self, request: OverrideRequest, now_s: float) -> ControlRecord | None:
        """Return the record to write for an operator's order, None when it is a repeat.

        Raises:
            RequestError: 409 when the request id was used for another order, or another order has
                replaced its own since; 422 for a symbol that is not served.
        """
        asked = [self.symbols[symbol] for symbol in self.served]
        if request.symbol is not None:
            asked = [self.asked(request.symbol)]
        action, order = request.action, _order_text(request.action, request.symbol)
        if self._requests.is_repeat(request.request_id, order):
            for machine in asked:
                if machine.control is not CONTROLS[action]:
                    raise not_in_force(f"{action} was replaced by {machine.control}")
            return None
        return ControlRecord(
            now_s, action, request.request_id, request.note, request.by, request.symbol
        )

    def asked(self, symbol: str) -> SymbolMachine:
        """Return the state of the symbol of a request.

        Raises:
            RequestError: 422 when it is not served; names those that are.
        """
        if symbol not in self.served:
            known = ", ".join(map(repr, self.served))
            text = f"this service is for {known}, found {symbol!r}"
            raise invalid("symbol", text, "wrong_symbol")
        return self.symbols[symbol]

    def apply(self, record: Record | None) -> None:
        """Apply a record that was checked, or read from the store; None only counts."""
        self.version += 1
        self._record_s = time_of(record, self._record_s)
        if record is None:
            return
        if isinstance(record, ServingRecord):
            self.served = record.symbols
            self.total.limit(record.limits)
        elif isinstance(record, ExperimentRecord):
            self.experiment.choose(record, self.version)
        elif isinstance(record, ControlRecord):
            self._apply_control(record)
        elif isinstance(record, ModelRecord) and record.symbol not in self.symbols:
            added = SymbolMachine(record)
            self.symbols[added.symbol] = added
            self.total.move(added.account.equity)
        else:
            self._apply_to_one(record)

    def witness(self) -> Witness:
        """Return what the state says of the time."""
        return Witness(self._record_s, self._bar_end_s, self._resumed)

    def snapshot(self, symbol: str | None = None) -> Snapshot:
        """Return what decisions need to know of one symbol, of the only one when omitted."""
        machine = self.of(symbol)
        account = machine.account
        if self.total.halted:
            account = replace(account, halted=True)
        return Snapshot(
            machine.control,
            account,
            machine.buffer.state(machine.model.live_bars),
            machine.broker_position,
        )

    @property
    def _serving(self) -> ServingRecord:
        return ServingRecord(self.served, self.total.limits)

    def _apply_control(self, record: ControlRecord) -> None:
        if record.action == "resume":
            self._resumed = self.version
        self._requests.add(record.request_id, _order_text(record.action, record.symbol))
        for symbol, machine in self.symbols.items():
            if record.symbol in (None, symbol):
                machine.apply(record)

    def _apply_to_one(self, record: Record) -> None:
        machine = self.symbols[_symbol_of(record) or next(iter(self.symbols))]
        amended, bundle_id = machine.amended, machine.model.bundle_id
        machine.apply(record)
        if machine.model.bundle_id != bundle_id:
            self.experiment.restart(machine.symbol, self.version)
        if isinstance(record, BarsRecord):
            self._note_bar(machine)
        if isinstance(record, AccountRecord):
            self.total.move(
                sum(move.amount for move in record.request.cash if move.kind == "transfer")
            )
        equity = self._equity()
        if machine.amended != amended:
            peaks = (each.account.session_peak for each in self.symbols.values())
            self.total.correct(equity, sum(peaks))
        else:
            served = ((symbol, self.symbols[symbol].sessions) for symbol in self.served)
            self.total.mark(equity, {name: count for name, count in served if count is not None})

    def _note_bar(self, machine: SymbolMachine) -> None:
        if machine.buffer.last_s is not None:
            end_s = float(machine.buffer.last_s + machine.model.bar_seconds)
            self._bar_end_s = max(self._bar_end_s, end_s)

    def _equity(self) -> float:
        return sum(machine.account.equity for machine in self.symbols.values())


def _symbol_of(record: Record) -> str | None:
    """Return the symbol of a record; None where an older version left it out."""
    if isinstance(record, AccountRecord):
        return record.request.symbol
    return getattr(record, "symbol", None)


def _order_text(action: str, symbol: str | None) -> str:
    return action if symbol is None else f"{action} {symbol}"
