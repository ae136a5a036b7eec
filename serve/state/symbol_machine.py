"""The state of one symbol: its bars, fills, account, operator's order and bundle."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from rllib_tactical.config.loader import from_dict
from rllib_tactical.domain.decision.override import Control
from rllib_tactical.domain.decision.risk import RiskConfig
from rllib_tactical.domain.simulation.account import Account
from rllib_tactical.domain.types import Instrument
from rllib_tactical.errors import ServiceError
from serve.api.errors import exact, invalid
from serve.api.write_requests import AccountRequest, BarsRequest, FillsRequest
from serve.state.bars import BarBuffer, BarPlan, BufferImage, BufferState
from serve.state.fills import FillPlan, FillRegister
from serve.state.ledger import (
    Adopted,
    CashMoved,
    Filled,
    Ledger,
    LedgerImage,
    RulesChosen,
    SessionBegan,
)
from serve.state.portfolio import Fill, Trade
from serve.state.probation import Probation, ProbationState
from serve.state.records import (
    AccountRecord,
    BarsRecord,
    ControlRecord,
    FillsRecord,
    ModelRecord,
    ProposalRecord,
    Record,
    SessionRecord,
)
from serve.state.request_keys import RequestKeys, digest_of, not_in_force

FIXED: Final = ("symbol", "point_value", "calendar", "timezone", "tick_size", "lot_step")
"""Fields of an instrument in which bars and positions are kept: a new bundle must have the same."""

CONTROLS: Final = {
    "pause": Control.PAUSE,
    "resume": Control.NONE,
    "flatten": Control.FLATTEN,
    "force_hold": Control.FORCE_HOLD,
}

STRICTNESS: Final = (Control.NONE, Control.FORCE_HOLD, Control.PAUSE, Control.FLATTEN)
"""An operator's orders from the one that stops least to the one that stops most."""


class SymbolImage(msgspec.Struct, frozen=True):
    """Everything that a ``SymbolMachine`` holds, for snapshots.

    ``instrument`` is that of the first bundle; ``reports``, ``revisions`` and ``promotions`` are
    the requests to /account, /bars and /admin/model by their ids.
    """

    version: int
    model: ModelRecord
    instrument: dict[str, Any]
    launched: str
    control: Control
    buffer: BufferImage
    ledger: LedgerImage
    fills: list[Fill]
    busts: list[str]
    reports: dict[str, str]
    broker_position: float | None
    revisions: dict[str, str]
    promotions: dict[str, str]
    forgotten_s: float
    probation: ProbationState = ProbationState()


class SymbolMachine:
    """The state of one symbol.

    ``version`` counts the records that concern the symbol.

    Args:
        model: the record that names its first bundle and so the instrument.
    """

    def __init__(self, model: ModelRecord) -> None:
        self.model = model
        self.launched = model.bundle_id
        self.proposal: ProposalRecord | None = None
        self.control = Control.NONE
        self.version = 1
        self.broker_position: float | None = None
        self._reports, self._revisions, self._promotions = (RequestKeys() for _ in range(3))
        self._first_instrument = model.instrument
        self.instrument = from_dict(Instrument, model.instrument, "instrument")
        self.buffer = BarBuffer(self.instrument, model.bar_seconds)
        self._fills = FillRegister(self.instrument)
        self._ledger = Ledger(self.instrument, model.bar_seconds, _rules_of(model))
        self._probation = Probation()

    def image(self) -> SymbolImage:
        """Return all of the state, which ``resumed`` makes a machine of."""
        return SymbolImage(
            self.version,
            self.model,
            self._first_instrument,
            self.launched,
            self.control,
            self.buffer.image(),
            self._ledger.image(),
            self._fills.fills,
            self._fills.busts,
            self._reports.image(),
            self.broker_position,
            self._revisions.image(),
            self._promotions.image(),
            self._fills.forgotten_s,
            self._probation.state(),
        )

    @classmethod
    def resumed(cls, image: SymbolImage) -> SymbolMachine:
        """Return the machine of an image."""
        machine = cls(msgspec.structs.replace(image.model, instrument=image.instrument))
        machine.model, machine.launched = image.model, image.launched
        machine.control, machine.version = image.control, image.version
        machine.buffer.resume(image.buffer)
        machine._ledger.resume(image.ledger)
        for fill in image.fills:
            machine._fills.add(fill)
        for fill_id in image.busts:
            machine._fills.bust(fill_id)
        machine._fills.forgotten_s = image.forgotten_s
        machine._reports.resume(image.reports)
        machine._revisions.resume(image.revisions)
        machine._promotions.resume(image.promotions)
        machine.broker_position = image.broker_position
        machine._probation.resume(image.probation)
        return machine

    @property
    def symbol(self) -> str:
        """The symbol that is traded."""
        return self.instrument.symbol

    @property
    def account(self) -> Account:
        """The account as it is marked, against its own limits."""
        return self._ledger.now.portfolio.account

    @property
    def trades(self) -> list[Trade]:
        """Closed trades, in order of their exits."""
        return self._ledger.now.portfolio.trades

    @property
    def trades_version(self) -> tuple[int, int]:
        """Changes whenever a closed trade is added or put right."""
        return len(self.trades), self._ledger.amended

    def newest_fills(self, count: int) -> list[tuple[Fill, bool]]:
        """Return the newest fills, oldest first, and whether each was undone or replaced."""
        return self._fills.newest(count)

    @property
    def fills(self) -> list[Fill]:
        """The accepted fills that are remembered, without those that were undone."""
        return self._fills.fills

    def has_filled(self, decision_id: str) -> bool:
        """Return whether a fill of the order of a decision was reported."""
        return self._fills.has_filled(decision_id)

    @property
    def sessions(self) -> int | None:
        """How many sessions the account has begun, None while there is no price."""
        now = self._ledger.now
        return now.portfolio.sessions if now.price else None

    @property
    def amended(self) -> int:
        """How often events of the account were put right."""
        return self._ledger.amended

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

    def check_promotion(self, record: ModelRecord) -> ModelRecord | None:
        """Return the record to write for a promoted bundle, None when it is a repeat.

        Raises:
            RequestError: 409 when the request id was used for another bundle, or another bundle
                was chosen since.
            ServiceError: see ``check_model``.
        """
        if self._promotions.is_repeat(record.request_id, record.bundle_id):
            if self.model.bundle_id != record.bundle_id:
                raise not_in_force(f"bundle {self.model.bundle_id[:12]} was chosen since")
            return None
        self.check_model(record)
        return record

    def rollback(self, sessions: int) -> ModelRecord | None:
        """Return the record of the rollback that is due, see ``Probation.rollback``."""
        return self._probation.rollback(self.account.halted, self.sessions, sessions)

    def check_bars(self, request: BarsRequest, now_s: float) -> tuple[BarsRecord | None, BarPlan]:
        """Return the record to write for a request, None when all its bars are repeats; its plan.

        Raises:
            RequestError: see ``BarBuffer.check``; 409 when the request id was used for another
                request, or its bars were revised since.
        """
        digest = digest_of(request) if request.request_id else ""
        repeated = self._revisions.is_repeat(request.request_id, digest)
        plan = self.buffer.check(request.bars, now_s, request.revise)
        if not (rows := plan.rows):
            return None, plan
        if repeated:
            raise not_in_force("its bars were revised since")
        request_id = request.request_id
        return BarsRecord(now_s, rows, request.note, request_id, digest, self.symbol), plan

    def check_fills(
        self, request: FillsRequest, now_s: float
    ) -> tuple[FillsRecord | None, FillPlan]:
        """Return the record to write for a request, None when all its fills are repeats; its plan.

        Raises:
            RequestError: see ``FillRegister.check``.
        """
        plan = self._fills.check(request, now_s, self._ledger.holds)
        if not (plan.new or plan.busts):
            return None, plan
        return FillsRecord(now_s, plan.new, plan.busts, request.note, self.symbol), plan

    def check_account(self, request: AccountRequest, now_s: float) -> AccountRecord | None:
        """Return the record to write for what was said of the account, None when it is a repeat.

        Raises:
            RequestError: 422 for an adoption without the broker's account or
                without a price, and for a withdrawal that leaves nothing; 409 when the request id
                was used for another request.
        """
        digest = digest_of(request)
        if self._reports.is_repeat(request.request_id, digest):
            return None
        broker = request.broker
        if request.adopt:
            if broker is None:
                raise invalid("broker", "is required to adopt it", "missing_field")
            if broker.position and not (broker.entry_price or self._ledger.now.price):
                text = "is required while there is no price"
                raise invalid("broker.entry_price", text, "missing_field")
        left = self._ledger.now.portfolio.account.equity + sum(move.amount for move in request.cash)
        if (
            any(move.amount < 0.0 and move.kind == "transfer" for move in request.cash)
            and left <= 0
        ):
            raise invalid("cash", f"must leave equity above 0, found {exact(left)}")
        return AccountRecord(now_s, request, digest)

    def apply(self, record: Record | None) -> None:
        """Apply a record that concerns the symbol; None only counts."""
        self.version += 1
        if isinstance(record, ModelRecord):
            self._apply_model(record)
        elif isinstance(record, BarsRecord):
            self._ledger.close(self.buffer.push(record.rows, record.at_s))
            self._revisions.add(record.request_id, record.digest)
        elif isinstance(record, FillsRecord):
            for fill in record.fills:
                self._fills.add(fill)
                if fill.votes is not None and fill.bundle_id is None:
                    # older versions kept no bundle: it is the one that decided then
                    fill = msgspec.structs.replace(fill, bundle_id=self.model.bundle_id)
                if fill.corrects is None:
                    self._ledger.apply(Filled(fill))
                else:
                    self._ledger.correct(fill.corrects, fill)
            for fill_id in record.busts:
                self._fills.bust(fill_id)
                self._ledger.correct(fill_id, None)
            self._compare(self.broker_position)
        elif isinstance(record, AccountRecord):
            self._apply_account(record)
        elif isinstance(record, SessionRecord):
            self._ledger.apply(SessionBegan(record.at_s))
        elif isinstance(record, ControlRecord):
            self.control = CONTROLS[record.action]
        elif isinstance(record, ProposalRecord):
            self.proposal = record
        self._probation.see(self.account.halted)

    def market(self) -> BufferState:
        """Return what decisions see of the market at the last bar.

        Raises:
            ServiceError: no bar has been accepted yet.
        """
        market = self.buffer.state(self.model.live_bars)
        if market is None:
            raise ServiceError("the market must have a bar, found none")
        return market

    def _apply_account(self, record: AccountRecord) -> None:
        request, broker = record.request, record.request.broker
        self._reports.add(request.request_id, record.digest)
        for move in request.cash:
            self._ledger.apply(CashMoved(move.amount, move.kind == "funding"))
        if broker is None:
            return
        if request.adopt:
            self._ledger.apply(Adopted(broker.position, broker.equity, broker.entry_price))
        self._compare(broker.position)

    def _compare(self, broker_position: float | None) -> None:
        """Note a position of the broker's that is not the one of the fills."""
        portfolio = self._ledger.now.portfolio
        agrees = broker_position is None or portfolio.is_position(broker_position)
        self.broker_position = None if agrees else broker_position

    def _apply_model(self, record: ModelRecord) -> None:
        rules = _rules_of(record)
        if rules != self._ledger.now.rules:
            self._ledger.apply(rules)
        self._probation.choose(self.model, record, self.sessions)
        self.model, self.proposal = record, None
        if record.launch is not None:
            self.launched = record.bundle_id
        self._promotions.add(record.request_id, record.bundle_id)


def _rules_of(model: ModelRecord) -> RulesChosen:
    return RulesChosen(from_dict(RiskConfig, model.risk, "risk"), model.live_bars)
