"""What the broker reported: fills, and the account and the trades that they result in."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from rllib_tactical.domain.decision.actions import LABELS, SIGNS
from rllib_tactical.domain.decision.risk import RiskConfig
from rllib_tactical.domain.simulation.account import (
    Account,
    apply_fill,
    mark_account,
    move_cash,
    take_position,
)
from rllib_tactical.domain.types import AGENTS, Instrument
from serve.api.responses import VoteLabels


class Fill(msgspec.Struct, frozen=True):
    """One accepted fill, as the journal stores it.

    ``side`` +1 bought or -1 sold; ``quantity`` lots; ``fee`` dollars; ``time_s`` UTC epoch seconds;
    ``votes`` the signed votes of the decision behind the order, ``bundle_id`` its bundle, None when
    unknown; ``corrects`` the id of the fill in whose place this one counts.
    """

    fill_id: str
    side: int
    quantity: float
    price: float
    fee: float
    time_s: float
    decision_id: str | None = None
    votes: tuple[int, int, int] | None = None
    corrects: str | None = None
    bundle_id: str | None = None


class Trade(msgspec.Struct, frozen=True):
    """A position from its entry until it was flat. ``pnl`` in dollars, net of all costs.

    ``votes`` and ``bundle_id``: of the decision that opened it, None when unknown.
    """

    side: int
    entry_s: float
    exit_s: float
    pnl: float
    votes: tuple[int, int, int] | None
    bundle_id: str | None = None


class PortfolioState(msgspec.Struct, frozen=True):
    """Where a ``Portfolio`` stands: its account, the fill that opened it, and counts."""

    account: Account
    entry: Fill | None
    trades: int
    sessions: int = 0


class Portfolio:
    """Account and trades of one instrument; ``sessions`` counts those that have begun.

    Args:
        instrument: gives point value and commission.
        risk: the limits at which a session is halted.
    """

    def __init__(self, instrument: Instrument, risk: RiskConfig) -> None:
        self.risk = risk
        self.account = Account.opened(risk.initial_equity)
        self.trades: list[Trade] = []
        self.sessions = 0
        self._instrument = instrument
        self._entry: Fill | None = None

    def state(self) -> PortfolioState:
        """Return what ``go_back`` needs to be here again."""
        return PortfolioState(self.account, self._entry, len(self.trades), self.sessions)

    def go_back(self, state: PortfolioState) -> None:
        """Be where ``state`` was taken; trades that closed since then are forgotten."""
        self.account, self._entry = state.account, state.entry
        self.sessions = state.sessions
        del self.trades[state.trades :]

    def apply(self, fill: Fill) -> Trade | None:
        """Take a fill; return the trade that it closed, if any."""
        before = self.account
        self.account, pnl = apply_fill(
            before,
            fill.side,
            fill.quantity,
            fill.price,
            fill.fee,
            self._instrument.point_value,
        )
        trade = None
        if pnl is not None:
            entry = self._entry or fill
            trade = Trade(before.side, entry.time_s, fill.time_s, pnl, entry.votes, entry.bundle_id)
            self.trades.append(trade)
            self._entry = fill if self.account.side else None
        elif before.side == 0:
            self._entry = fill
        return trade

    def transfer(self, amount: float) -> None:
        """Take a deposit, or a withdrawal below zero; see ``move_cash``."""
        self.account = move_cash(self.account, amount)

    def charge(self, amount: float) -> None:
        """Take income, or a cost below zero, that no fill brought; the next mark counts it."""
        self.account = replace(self.account, cash=self.account.cash + amount)

    def adopt(self, position: float, entry_price: float, price: float) -> None:
        """Hold another position; see ``take_position``. The trade so far ends without a record."""
        point_value = self._instrument.point_value
        self.account = take_position(self.account, position, entry_price, price, point_value)
        self._entry = None

    @property
    def position(self) -> float:
        """Lots held, below zero when short."""
        return self.account.side * self.account.quantity

    def is_position(self, position: float) -> bool:
        """Return whether ``position`` is what is held, within a millionth of a lot step."""
        return abs(self.position - position) <= 1e-6 * self._instrument.lot_step

    def mark(self, price: float, new_session: bool) -> None:
        """Mark the account to market; see ``mark_account``."""
        point_value = self._instrument.point_value
        self.account = mark_account(self.account, price, new_session, point_value, self.risk)
        self.sessions += new_session


def signed_votes(labels: VoteLabels) -> tuple[int, int, int]:
    """Return the signed votes of fvg, momentum and entry."""
    fvg, momentum, entry = (
        int(SIGNS[i, LABELS[agent].index(getattr(labels, agent))]) for i, agent in enumerate(AGENTS)
    )
    return fvg, momentum, entry
