"""The state of the service, a state machine: bars, fills, operator's orders, the bundle.

A write is checked against the state, written to the store as a record, and applied. Every replica
applies the same records and gets the same state. Nothing here reads a clock or a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from rllib_tactical.config.loader import from_dict
from rllib_tactical.data.calendar.sessions import opens_between
from rllib_tactical.domain.decision.override import Control
from rllib_tactical.domain.decision.risk import RiskConfig
from rllib_tactical.domain.simulation.account import Account
from rllib_tactical.domain.types import Instrument
from rllib_tactical.errors import ServiceError
from serve.api.errors import RequestError, invalid
from serve.api.write_requests import BarsRequest, FillsRequest, OverrideRequest
from serve.state.bars import BarBuffer, BarPlan, BufferImage, BufferState
from serve.state.portfolio import FillPlan, Portfolio, PortfolioImage, Trade
from serve.state.records import (
    BarsRecord,
    ControlRecord,
    FillsRecord,
    ModelRecord,
    ProposalRecord,
    Record,
    SessionRecord,
)

FIXED: Final = ("symbol", "point_value", "calendar", "timezone", "tick_size", "lot_step")
"""Fields of an instrument in which bars and positions are kept: a new bundle must have the same."""

CONTROLS: Final = {
    "pause": Control.PAUSE,
    "resume": Control.NONE,
    "flatten": Control.FLATTEN,
    "force_hold": Control.FORCE_HOLD,
}


class Snapshot(msgspec.Struct, frozen=True):
    """What a decision needs to know of the state at one version."""

    control: Control
    account: Account
    market: BufferState | None


class MachineImage(msgspec.Struct, frozen=True):
    """Everything that a ``StateMachine`` holds, for snapshots.

    ``instrument`` is that of the first bundle; ``marked`` the epoch time and price of the last
    mark; ``requests`` the operator's orders by request id.
    """

    version: int
    model: ModelRecord
    instrument: dict[str, Any]
    launched: str
    control: Control
    requests: dict[str, str]
    marked: tuple[float, float]
    session_s: float
    buffer: BufferImage
    portfolio: PortfolioImage


_PACK: Final = msgspec.msgpack.Encoder().encode
_UNPACK: Final = msgspec.msgpack.Decoder(MachineImage).decode


@dataclass(frozen=True, slots=True)
class _Mark:
    """The newest price at which the account was marked, and its epoch time; 0 before the first.

    For a bar, ``time_s`` is its last second.
    """

    time_s: float = 0.0
    price: float = 0.0


class StateMachine:
    """The state of the service.

    Args:
        model: the first record; it names the bundle and so the instrument.

    The account is marked at the close of every bar, as in a backtest. While no bars arrive (there
    is none yet, or the next is overdue by more than its length), fills mark the account and the
    clock starts sessions. A price older than the newest one never marks.

    In a replay of old bars their times cannot be compared with those of fills or with the clock:
    from the first bar on only bars mark the account and start sessions.
    """

    def __init__(self, model: ModelRecord) -> None:
        self.model = model
        self.launched = model.bundle_id
        self.proposal: ProposalRecord | None = None
        self.control = Control.NONE
        self.version = 1
        self._requests: dict[str, str] = {}
        self._marked = _Mark()
        self._session_s = 0.0  # epoch time of the newest session that the clock started
        self._first_instrument = model.instrument
        self._instrument = from_dict(Instrument, model.instrument, "instrument")
        self._buffer = BarBuffer(self._instrument, model.bar_seconds)
        self._portfolio = Portfolio(self._instrument, from_dict(RiskConfig, model.risk, "risk"))

    def dump(self) -> bytes:
        """Return all of the state, which ``load`` makes a machine of."""
        image = MachineImage(
            self.version,
            self.model,
            self._first_instrument,
            self.launched,
            self.control,
            self._requests,
            (self._marked.time_s, self._marked.price),
            self._session_s,
            self._buffer.image(),
            self._portfolio.image(),
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
        machine = cls(msgspec.structs.replace(image.model, instrument=image.instrument))
        machine.model, machine.launched = image.model, image.launched
        machine.control, machine.version = image.control, image.version
        machine._requests = image.requests
        machine._marked, machine._session_s = _Mark(*image.marked), image.session_s
        machine._buffer.resume(image.buffer)
        machine._portfolio.resume(image.portfolio)
        return machine

    @property
    def trades(self) -> list[Trade]:
        """Closed trades, in order of their exits."""
        return self._portfolio.trades

    @property
    def instrument(self) -> Instrument:
        """The instrument that is traded."""
        return self._instrument

    def check_model(self, record: ModelRecord) -> None:
        """Refuse a bundle for another market than that of the state.

        Raises:
            ServiceError: the instrument or the bar length differs; names how.
        """
        differ = [
            f"{name} {record.instrument.get(name)!r} instead of {self.model.instrument.get(name)!r}"
            for name in FIXED
            if record.instrument.get(name) != self.model.instrument.get(name)
        ]
        if record.bar_seconds != self.model.bar_seconds:
            differ.append(f"bars of {record.bar_seconds} s instead of {self.model.bar_seconds}")
        if differ:
            raise ServiceError(f"the bundle is for another market: {', '.join(differ)}")

    def check_launch(self, given: ModelRecord) -> ModelRecord | None:
        """Return the record to write when the service is started with a bundle, None for none.

        A bundle that was promoted stays, unless the start names another one than the last start.

        Raises:
            ServiceError: see ``check_model``.
        """
        if given.bundle_id != self.launched:
            self.check_model(given)
            return given
        kept = msgspec.structs.replace(self.model, live_bars=given.live_bars)
        if given.bundle_id == self.model.bundle_id:
            kept = msgspec.structs.replace(kept, path=given.path)
        return None if kept == self.model else kept

    def check_bars(self, request: BarsRequest, now_s: float) -> tuple[BarsRecord | None, BarPlan]:
        """Return the record to write for a request, None when all its bars are repeats; its plan.

        Raises:
            RequestError: see ``BarBuffer.check``; 422 for another symbol.
        """
        self._require_symbol(request.symbol)
        plan = self._buffer.check(request.bars, now_s)
        return BarsRecord(now_s, plan.new) if plan.new else None, plan

    def check_fills(
        self, request: FillsRequest, now_s: float
    ) -> tuple[FillsRecord | None, FillPlan]:
        """Return the record to write for a request, None when all its fills are repeats; its plan.

        Raises:
            RequestError: see ``Portfolio.check``; 422 for another symbol.
        """
        self._require_symbol(request.symbol)
        plan = self._portfolio.check(request.fills, now_s)
        return FillsRecord(now_s, plan.new) if plan.new else None, plan

    def check_control(self, request: OverrideRequest, now_s: float) -> ControlRecord | None:
        """Return the record to write for an operator's order, None when it is a repeat.

        Raises:
            RequestError: 409 when the request id was used for another order.
        """
        known = self._requests.get(request.request_id or "")
        if known is not None:
            if known != request.action:
                raise RequestError(
                    409,
                    "conflict",
                    f"request_id: it was used for {known}, found {request.action}",
                    "request_id",
                )
            return None
        return ControlRecord(now_s, request.action, request.request_id, request.note)

    def check_session(self, now_s: float) -> SessionRecord | None:
        """Return the record to write when the clock has entered a session before any bar has."""
        if self._buffer.count:
            if not self._live_bars:
                return None
            now_s -= self._patience_s  # the first bar of the session may still arrive
        before_s = self._marked.time_s
        if before_s < self._session_s <= now_s:  # one later than now is from a clock that was wrong
            before_s = self._session_s
        return SessionRecord(now_s) if self._begins_session(before_s, now_s) else None

    def apply(self, record: Record | None) -> None:
        """Apply a record that was checked, or read from the store; None only counts."""
        self.version += 1
        if isinstance(record, ModelRecord):
            self._apply_model(record)
        elif isinstance(record, BarsRecord):
            self._apply_bars(record)
        elif isinstance(record, FillsRecord):
            for fill in record.fills:
                self._portfolio.apply(fill)
                if not self._bars_mark(fill.time_s):
                    self._mark(fill.time_s, fill.price)
        elif isinstance(record, SessionRecord):
            self._portfolio.mark(self._marked.price, True)
            self._session_s = record.at_s
        elif isinstance(record, ControlRecord):
            self.control = CONTROLS[record.action]
            if record.request_id:
                self._requests[record.request_id] = record.action
        elif isinstance(record, ProposalRecord):
            self.proposal = record

    def market(self) -> BufferState:
        """Return what decisions see of the market at the last bar.

        Raises:
            ServiceError: no bar has been accepted yet.
        """
        market = self._buffer.state()
        if market is None:
            raise ServiceError("the market must have a bar, found none")
        return market

    def snapshot(self) -> Snapshot:
        """Return what decisions need to know."""
        return Snapshot(self.control, self._portfolio.account, self._buffer.state())

    def _apply_model(self, record: ModelRecord) -> None:
        self._portfolio.risk = from_dict(RiskConfig, record.risk, "risk")
        self.model, self.proposal = record, None
        if record.launch is not None:
            self.launched = record.bundle_id

    @property
    def _live_bars(self) -> bool:
        return self.model.live_bars

    @property
    def _patience_s(self) -> int:
        """How long to wait for a bar after its open: its length, and as long again."""
        return 2 * self.model.bar_seconds

    def _bars_mark(self, time_s: float) -> bool:
        """Return whether bars, and not fills, mark the account at ``time_s``."""
        last_s = self._buffer.last_s
        if last_s is None or not self._live_bars:
            return last_s is not None
        return time_s <= last_s + self.model.bar_seconds + self._patience_s

    def _apply_bars(self, record: BarsRecord) -> None:
        before_s = self._buffer.last_s
        for bar in self._buffer.push(record.rows, record.at_s):
            if not self._live_bars or self._marked.time_s == self._end_of(before_s):
                self._portfolio.mark(bar.close, bar.new_session)
                self._marked = _Mark(self._end_of(bar.time_s), bar.close)
            else:
                self._mark(self._end_of(bar.time_s), bar.close)
            before_s = bar.time_s

    def _end_of(self, bar_s: int | None) -> float:
        """Return the last second of the bar that opens at ``bar_s``; 0 without a bar."""
        return 0.0 if bar_s is None else float(bar_s + self.model.bar_seconds - 1)

    def _mark(self, time_s: float, price: float) -> None:
        """Mark the account at a price, or at the newest one where that is newer."""
        # compared with prices only: where the clock has started the session, nothing has changed
        # since, and starting it again gives the same account
        new_session = self._begins_session(self._marked.time_s, time_s)
        if time_s >= self._marked.time_s:
            self._marked = _Mark(time_s, price)
        self._portfolio.mark(self._marked.price, new_session)

    def _begins_session(self, before_s: float, now_s: float) -> bool:
        """Return whether a session opened after ``before_s`` (0: no time yet), up to ``now_s``.

        Beyond the calendar's range no session begins: drawdown and halt of the old one remain.
        """
        before, now = int(before_s), int(now_s)
        return 0 < before < now and opens_between(before, now, self._instrument)

    def _require_symbol(self, symbol: str) -> None:
        if symbol != self._instrument.symbol:
            raise invalid(
                "symbol",
                f"this service is for {self._instrument.symbol!r}, found {symbol!r}",
                "wrong_symbol",
            )
