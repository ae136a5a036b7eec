"""What the broker reported: fills, and the account and the trades that they result in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec
from msgspec import UNSET

from rllib_tactical.domain.decision.actions import LABELS, SIGNS
from rllib_tactical.domain.decision.risk import RiskConfig
from rllib_tactical.domain.simulation.account import Account, apply_fill, mark_account
from rllib_tactical.domain.types import AGENTS, Instrument
from serve.api.errors import RequestError, invalid
from serve.api.responses import VoteLabels
from serve.api.write_requests import FillInput, epoch_seconds

FUTURE_SLACK_S: Final = 60.0


class Fill(msgspec.Struct, frozen=True):
    """One accepted fill, as the journal stores it.

    ``side`` +1 bought or -1 sold; ``quantity`` lots; ``fee`` dollars; ``time_s`` UTC epoch seconds;
    ``votes`` the signed votes of the decision behind the order, None when unknown.
    """

    fill_id: str
    side: int
    quantity: float
    price: float
    fee: float
    time_s: float
    decision_id: str | None = None
    votes: tuple[int, int, int] | None = None


class Trade(msgspec.Struct, frozen=True):
    """A position from its entry until it was flat. ``pnl`` in dollars, net of all costs."""

    side: int
    entry_s: float
    exit_s: float
    pnl: float
    votes: tuple[int, int, int] | None


@dataclass(frozen=True, slots=True)
class FillPlan:
    """A request's new fills, and how many it repeats."""

    new: tuple[Fill, ...]
    repeated: int


class PortfolioImage(msgspec.Struct, frozen=True):
    """Everything that a ``Portfolio`` holds, for snapshots."""

    account: Account
    trades: list[Trade]
    fills: list[Fill]
    entry: Fill | None


class Portfolio:
    """Account and trades of one instrument; each fill counts once.

    Args:
        instrument: gives point value and commission.
        risk: the limits at which a session is halted.
    """

    def __init__(self, instrument: Instrument, risk: RiskConfig) -> None:
        self.risk = risk
        self.account = Account.opened(risk.initial_equity)
        self.trades: list[Trade] = []
        self._instrument = instrument
        self._fills: dict[str, Fill] = {}
        self._entry: Fill | None = None

    def image(self) -> PortfolioImage:
        """Return what ``resume`` needs to go on from here."""
        return PortfolioImage(self.account, self.trades, list(self._fills.values()), self._entry)

    def resume(self, image: PortfolioImage) -> None:
        """Go on from where ``image`` was made."""
        self.account, self.trades, self._entry = image.account, image.trades, image.entry
        self._fills = {fill.fill_id: fill for fill in image.fills}

    def check(self, fills: list[FillInput], now_s: float) -> FillPlan:
        """Return what ``apply`` would do with the fills of a request; nothing changes.

        Raises:
            RequestError: 422 for a fill in the future; 409 for an id that was accepted with other
                values, or is in the request twice with different ones.
        """
        new: dict[str, Fill] = {}
        repeated = 0
        for i, given in enumerate(fills):
            fill = self._fill(given, f"fills[{i}]", now_s)
            known = self._fills.get(fill.fill_id) or new.get(fill.fill_id)
            if known is None:
                new[fill.fill_id] = fill
            elif known == fill:
                repeated += 1
            else:
                raise RequestError(
                    409,
                    "conflict",
                    f"fills[{i}].fill_id: {fill.fill_id} was accepted with other values",
                    f"fills[{i}].fill_id",
                )
        return FillPlan(tuple(new.values()), repeated)

    def apply(self, fill: Fill) -> Trade | None:
        """Accept a fill that ``check`` found to be new; return the trade that it closed, if any."""
        self._fills[fill.fill_id] = fill
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
            trade = Trade(before.side, entry.time_s, fill.time_s, pnl, entry.votes)
            self.trades.append(trade)
            self._entry = fill if self.account.side else None
        elif before.side == 0:
            self._entry = fill
        return trade

    def mark(self, price: float, new_session: bool) -> None:
        """Mark the account to market; see ``mark_account``."""
        point_value = self._instrument.point_value
        self.account = mark_account(self.account, price, new_session, point_value, self.risk)

    def _fill(self, given: FillInput, field: str, now_s: float) -> Fill:
        time_s = epoch_seconds(given.timestamp, f"{field}.timestamp")
        if time_s > now_s + FUTURE_SLACK_S:
            raise invalid(
                f"{field}.timestamp",
                f"must not be in the future: now is {now_s:.0f}, found {time_s:.0f}",
            )
        fee = given.commission
        if fee is UNSET:
            fee = given.quantity * self._instrument.commission_per_lot
        origin = given.metadata
        return Fill(
            fill_id=given.fill_id,
            side=1 if given.side == "BUY" else -1,
            quantity=given.quantity,
            price=given.price,
            fee=fee,
            time_s=time_s,
            decision_id=None if origin is None else origin.decision_id,
            votes=None if origin is None else signed_votes(origin.votes),
        )


def signed_votes(labels: VoteLabels) -> tuple[int, int, int]:
    """Return the signed votes of fvg, momentum and entry."""
    fvg, momentum, entry = (
        int(SIGNS[i, LABELS[agent].index(getattr(labels, agent))]) for i, agent in enumerate(AGENTS)
    )
    return fvg, momentum, entry
