"""The state of the service, a state machine: bars, fills, operator's orders, the bundle.

A write is checked against the state, written to the journal as a record, and applied. A restart
applies the same records again and gets the same state. Nothing here reads a clock or a file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.config.loader import from_dict, to_dict
from rllib_tactical.data.calendar.sessions import opens_between
from rllib_tactical.domain.decision.override import Control
from rllib_tactical.domain.decision.risk import RiskConfig
from rllib_tactical.domain.simulation.account import Account
from rllib_tactical.domain.types import Instrument
from rllib_tactical.errors import ServiceError
from serve.api.errors import RequestError, invalid
from serve.api.responses import NO_ACCURACY, Accuracy
from serve.api.write_requests import BarsRequest, FillsRequest, OverrideRequest
from serve.state.bars import BarBuffer, BarPlan, BarRow, BufferState
from serve.state.portfolio import Fill, FillPlan, Portfolio, Trade

FIXED: Final = ("symbol", "point_value", "calendar", "timezone", "tick_size", "lot_step")
"""Fields of an instrument in which bars and positions are kept: a new bundle must have the same."""

CONTROLS: Final = {
    "pause": Control.PAUSE,
    "resume": Control.NONE,
    "flatten": Control.FLATTEN,
    "force_hold": Control.FORCE_HOLD,
}


class ModelRecord(msgspec.Struct, tag="model", frozen=True):
    """A bundle was chosen.

    ``launch`` identifies the start of the service that chose it, None for a later choice.
    ``live_bars``: bars arrive as they close; false in journals that do not have it.
    """

    path: str
    bundle_id: str
    instrument: dict[str, Any]
    risk: dict[str, Any]
    bar_seconds: int
    launch: str | None = None
    live_bars: bool = False


class BarsRecord(msgspec.Struct, tag="bars", frozen=True):
    """Bars were accepted; ``at_s`` is the epoch time, as in every record."""

    at_s: float
    rows: tuple[BarRow, ...]


class FillsRecord(msgspec.Struct, tag="fills", frozen=True):
    """Fills were accepted."""

    at_s: float
    fills: tuple[Fill, ...]


class ControlRecord(msgspec.Struct, tag="control", frozen=True):
    """An operator gave an order."""

    at_s: float
    action: str
    request_id: str | None
    note: str = ""


class SessionRecord(msgspec.Struct, tag="session", frozen=True):
    """A session began by the clock, without a bar of it."""

    at_s: float


Record = ModelRecord | BarsRecord | FillsRecord | ControlRecord | SessionRecord


class Snapshot(msgspec.Struct, frozen=True):
    """What a replica needs to decide.

    ``trades`` counts the closed trades whose votes are known; ``accuracy`` per agent is over those,
    None before the first.
    """

    bundle_path: str
    bundle_id: str
    control: Control
    account: Account
    market: BufferState | None
    trades: int
    accuracy: Accuracy


@dataclass(slots=True)
class Effect:
    """The trades that a record closed, for metrics."""

    trades: list[Trade] = field(default_factory=list)


def model_record(bundle: Bundle, launch: str | None = None, live_bars: bool = True) -> ModelRecord:
    """Return the record that a verified bundle was chosen."""
    return ModelRecord(
        path=str(bundle.path),
        bundle_id=bundle.bundle_id,
        instrument=to_dict(bundle.instrument),
        risk=to_dict(bundle.rules.risk),
        bar_seconds=bundle.bar_seconds,
        launch=launch,
        live_bars=live_bars,
    )


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
        self.launch = model.launch
        self.control = Control.NONE
        self.version = 1
        self.agent_accuracy = NO_ACCURACY
        self._requests: dict[str, str] = {}
        self._marked = _Mark()
        self._session_s = 0.0  # epoch time of the newest session that the clock started
        self._instrument = from_dict(Instrument, model.instrument, "instrument")
        self._buffer = BarBuffer(self._instrument, model.bar_seconds)
        self._portfolio = Portfolio(self._instrument, from_dict(RiskConfig, model.risk, "risk"))

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

    def apply(self, record: Record) -> Effect:
        """Apply a record that was checked, or read from the journal."""
        effect = Effect()
        if isinstance(record, ModelRecord):
            self._apply_model(record)
        elif isinstance(record, BarsRecord):
            self._apply_bars(record)
        elif isinstance(record, FillsRecord):
            for fill in record.fills:
                trade = self._portfolio.apply(fill)
                if trade is not None:
                    effect.trades.append(trade)
                if not self._bars_mark(fill.time_s):
                    self._mark(fill.time_s, fill.price)
        elif isinstance(record, SessionRecord):
            self._portfolio.mark(self._marked.price, True)
            self._session_s = record.at_s
        else:
            self.control = CONTROLS[record.action]
            if record.request_id:
                self._requests[record.request_id] = record.action
        self.version += 1
        return effect

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
        """Return the copy of the state that replicas decide on."""
        return Snapshot(
            bundle_path=self.model.path,
            bundle_id=self.model.bundle_id,
            control=self.control,
            account=self._portfolio.account,
            market=self._buffer.state(),
            trades=sum(trade.votes is not None for trade in self._portfolio.trades),
            accuracy=self.agent_accuracy,
        )

    def _apply_model(self, record: ModelRecord) -> None:
        self._portfolio.risk = from_dict(RiskConfig, record.risk, "risk")
        self.model = record
        self.launch = record.launch or self.launch

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
