"""The state of the service as one value that changes by records: bars, fills, orders, the model.

A write is checked against the state, journalled as a record, and applied; after a restart the same
records are applied again and give the same state. Nothing here reads a clock or a file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import numpy as np

from rllib_tactical.bundle import Bundle
from rllib_tactical.config import from_dict, to_dict
from rllib_tactical.data.sessions import follow_sessions
from rllib_tactical.domain.ledger import Account
from rllib_tactical.domain.risk import RiskConfig
from rllib_tactical.domain.standing import Control
from rllib_tactical.domain.types import Instrument
from rllib_tactical.errors import ServiceError
from serve.book import Book, Fill, Trade
from serve.errors import RequestError, invalid
from serve.feed import BarRow, Feed, MarketState
from serve.writes import BarsRequest, FillsRequest, OverrideRequest

FIXED: Final = ("symbol", "point_value", "calendar", "timezone", "tick_size", "lot_step")
"""What of an instrument another bundle may not change: positions and bars are kept in its terms."""

CONTROLS: Final = {
    "pause": Control.PAUSE,
    "resume": Control.NONE,
    "flatten": Control.FLATTEN,
    "force_hold": Control.FORCE_HOLD,
}


class ModelRecord(msgspec.Struct, tag="model", frozen=True):
    """A bundle was chosen. ``launch`` names the start of the service that it came with, if any."""

    path: str
    bundle_id: str
    instrument: dict[str, Any]
    risk: dict[str, Any]
    bar_seconds: int
    launch: str | None = None


class BarsRecord(msgspec.Struct, tag="bars", frozen=True):
    """Bars were accepted at epoch time ``at_s``."""

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
    """A session began by the clock, where no bars tell so."""

    at_s: float


Record = ModelRecord | BarsRecord | FillsRecord | ControlRecord | SessionRecord


class Snapshot(msgspec.Struct, frozen=True):
    """What a replica needs to decide. ``accuracy`` per agent, None before there is a trade."""

    bundle_path: str
    bundle_id: str
    control: Control
    account: Account
    market: MarketState | None
    trades: int
    accuracy: dict[str, float | None]


@dataclass(slots=True)
class Effect:
    """What applying a record did, for metrics: trades that ended."""

    trades: list[Trade] = field(default_factory=list)


def model_record(bundle: Bundle, launch: str | None = None) -> ModelRecord:
    """Return the record of choosing a verified bundle."""
    return ModelRecord(
        path=str(bundle.path),
        bundle_id=bundle.bundle_id,
        instrument=to_dict(bundle.instrument),
        risk=to_dict(bundle.rules.risk),
        bar_seconds=bundle.bar_seconds,
        launch=launch,
    )


class Desk:
    """The state. The first record has to be a ``ModelRecord``."""

    def __init__(self) -> None:
        self.model: ModelRecord | None = None
        self.launch: str | None = None
        self.control = Control.NONE
        self.version = 0
        self.agent_accuracy: dict[str, float | None] = {}
        self._requests: dict[str, str] = {}
        self._marked = (0.0, 0.0)  # when and at which price, while there are no bars
        self._feed: Feed
        self._book: Book
        self._instrument: Instrument

    @property
    def trades(self) -> list[Trade]:
        """The trades so far, in order of their exits."""
        return self._book.trades

    @property
    def instrument(self) -> Instrument:
        """What is traded."""
        return self._instrument

    def check_model(self, record: ModelRecord) -> None:
        """Refuse a bundle for another market than the state is about.

        Raises:
            ServiceError: names what differs.
        """
        if self.model is None:
            return
        differ = [
            f"{name} {record.instrument.get(name)!r} instead of {self.model.instrument.get(name)!r}"
            for name in FIXED
            if record.instrument.get(name) != self.model.instrument.get(name)
        ]
        if record.bar_seconds != self.model.bar_seconds:
            differ.append(f"bars of {record.bar_seconds} s instead of {self.model.bar_seconds}")
        if differ:
            raise ServiceError(f"the bundle is for another market: {', '.join(differ)}")

    def check_bars(
        self, request: BarsRequest, now_s: float
    ) -> tuple[BarsRecord | None, dict[str, Any]]:
        """Return the record that a request leads to, None when it is all repeats, and the answer.

        Raises:
            RequestError: see ``Feed.check``; 422 for another symbol.
        """
        self._require_symbol(request.symbol)
        plan = self._feed.check(request.bars, now_s)
        answer = {
            "symbol": request.symbol,
            "accepted": len(plan.new),
            "repeated": plan.repeated,
            "gaps": list(plan.gaps),
        }
        return BarsRecord(now_s, plan.new) if plan.new else None, answer

    def check_fills(
        self, request: FillsRequest, now_s: float
    ) -> tuple[FillsRecord | None, dict[str, Any]]:
        """Return the record that a request leads to, None when it is all repeats, and the answer.

        Raises:
            RequestError: see ``Book.check``; 422 for another symbol.
        """
        self._require_symbol(request.symbol)
        plan = self._book.check(request.fills, now_s)
        answer = {
            "symbol": request.symbol,
            "accepted": len(plan.new),
            "repeated": plan.repeated,
        }
        return FillsRecord(now_s, plan.new) if plan.new else None, answer

    def check_control(self, request: OverrideRequest, now_s: float) -> ControlRecord | None:
        """Return the record of an operator's order, None for a repeat of it.

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
        """Return the record that lifts a halt when the clock has reached the next session.

        With bars the first one of a session does that; without them nothing else would.
        """
        if self._feed.count or not self._book.account.halted:
            return None
        return SessionRecord(now_s) if self._begins_session(now_s) else None

    def apply(self, record: Record) -> Effect:
        """Change the state by a record that was checked, or read from the journal."""
        effect = Effect()
        if isinstance(record, ModelRecord):
            self._apply_model(record)
        elif isinstance(record, BarsRecord):
            for bar in self._feed.push(record.rows, record.at_s):
                self._book.mark(bar.close, bar.new_session)
        elif isinstance(record, FillsRecord):
            for fill in record.fills:
                trade = self._book.apply(fill)
                if trade is not None:
                    effect.trades.append(trade)
                if not self._feed.count:  # without bars the fills are all that marks the account
                    self._book.mark(fill.price, self._begins_session(fill.time_s))
                    self._marked = (fill.time_s, fill.price)
        elif isinstance(record, SessionRecord):
            self._book.mark(self._marked[1], True)
            self._marked = (record.at_s, self._marked[1])
        else:
            self.control = CONTROLS[record.action]
            if record.request_id:
                self._requests[record.request_id] = record.action
        self.version += 1
        return effect

    def snapshot(self) -> Snapshot:
        """Return what replicas decide with."""
        assert self.model is not None
        return Snapshot(
            bundle_path=self.model.path,
            bundle_id=self.model.bundle_id,
            control=self.control,
            account=self._book.account,
            market=self._feed.state(),
            trades=len(self._book.trades),
            accuracy=self.agent_accuracy,
        )

    def _apply_model(self, record: ModelRecord) -> None:
        risk = from_dict(RiskConfig, record.risk, "risk")
        if self.model is None:
            self._instrument = from_dict(Instrument, record.instrument, "instrument")
            self._feed = Feed(self._instrument, record.bar_seconds)
            self._book = Book(self._instrument, risk)
        self._book.risk = risk
        self.model = record
        self.launch = record.launch or self.launch

    def _begins_session(self, time_s: float) -> bool:
        before, now = int(self._marked[0]), int(time_s)
        if before == 0 or now <= before:
            return False
        assert self.model is not None
        times = np.array([now], dtype=np.int64)
        first, _, _ = follow_sessions(before, times, self._instrument, self.model.bar_seconds)
        return bool(first[0])

    def _require_symbol(self, symbol: str) -> None:
        if symbol != self._instrument.symbol:
            raise invalid(
                "symbol",
                f"this service is for {self._instrument.symbol!r}, found {symbol!r}",
                "wrong_symbol",
            )
