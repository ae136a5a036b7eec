"""One live account, updated by the broker's fills and marked to market at closes.

The simulator keeps N accounts by the same arithmetic; fed with the simulator's own fills and bars,
this account has the same cash, equity, session peak and halts, bit for bit. Unlike the
simulator it handles partial fills, additions to a position, and a fill that reverses a position.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from rllib_tactical.domain.decision.risk import AccountView, RiskConfig, session_limits

FLAT_SHARE: Final = 1e-11
"""A remainder smaller than this share of the position's largest size counts as flat.

Sums of fractional lots do not cancel to the last bit; their error grows with the size.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account between two events. Money in dollars, ``quantity`` >= 0 in lots.

    ``side`` +1, -1 or 0; ``entry_price`` the average price of the open position; ``largest`` its
    largest size so far, in lots; ``entry_cash`` the cash before its first cost; ``equity`` and
    ``session_peak`` as of the last mark; ``halted``: the session's drawdown limit was hit.
    """

    cash: float
    equity: float
    session_peak: float
    entry_cash: float
    side: int = 0
    quantity: float = 0.0
    largest: float = 0.0
    entry_price: float = 0.0
    halted: bool = False

    @classmethod
    def opened(cls, equity: float) -> Account:
        """Return a flat account at the start of a session."""
        return cls(cash=equity, equity=equity, session_peak=equity, entry_cash=equity)

    def equity_at(self, price: float, point_value: float) -> float:
        """Return the equity in dollars with the position valued at ``price``."""
        if self.side == 0:
            return self.cash
        held = self.side * (price - self.entry_price) * self.quantity
        return self.cash + held * point_value


def apply_fill(
    account: Account, side: int, quantity: float, price: float, fee: float, point_value: float
) -> tuple[Account, float | None]:
    """Return the account after a fill, and the net P&L of the position that it ended.

    The P&L covers everything since the account was last flat, costs included; None when no position
    ended. A fill for more than is held ends the position and opens the opposite one with the rest,
    and its fee is shared by quantity. Equity and peak stay as last marked.

    Args:
        account: before the fill.
        side: +1 bought, -1 sold.
        quantity: lots, > 0.
        price: of the fill.
        fee: dollars of commission.
        point_value: dollars that one lot moves by per point.
    """
    if account.side == 0 or account.side == side:
        return _add(account, side, quantity, price, fee), None
    rest = quantity - account.quantity
    dust = FLAT_SHARE * max(account.largest, quantity)
    if rest > dust:
        closing_fee = fee * (account.quantity / quantity)
        flat, pnl = apply_fill(account, side, account.quantity, price, closing_fee, point_value)
        return _add(flat, side, rest, price, fee - closing_fee), pnl
    closed = min(quantity, account.quantity)
    gained = account.side * (price - account.entry_price) * closed * point_value
    cash = account.cash + (gained - fee)
    if rest < -dust:
        return replace(account, cash=cash, quantity=-rest), None
    flat = replace(account, cash=cash, side=0, quantity=0.0, largest=0.0, entry_price=0.0)
    return flat, cash - account.entry_cash


def _add(account: Account, side: int, quantity: float, price: float, fee: float) -> Account:
    if account.side == 0:
        return replace(
            account,
            cash=account.cash - fee,
            entry_cash=account.cash,
            side=side,
            quantity=quantity,
            largest=quantity,
            entry_price=price,
        )
    total = account.quantity + quantity
    average = (account.entry_price * account.quantity + price * quantity) / total
    return replace(
        account,
        cash=account.cash - fee,
        quantity=total,
        largest=max(account.largest, total),
        entry_price=average,
    )


def move_cash(account: Account, amount: float) -> Account:
    """Return the account after a deposit, or a withdrawal (``amount`` < 0), in dollars.

    It is no profit and no loss: the session's peak and the cash from which the open position's P&L
    is counted move with it.
    """
    return replace(
        account,
        cash=account.cash + amount,
        equity=account.equity + amount,
        session_peak=account.session_peak + amount,
        entry_cash=account.entry_cash + amount,
    )


def take_position(
    account: Account, position: float, entry_price: float, price: float, point_value: float
) -> Account:
    """Return the account with another position, and the equity that it has at ``price``.

    ``position`` in lots, below zero for short; its P&L counts from here.
    """
    side = int(position > 0) - int(position < 0)
    cash = account.equity_at(price, point_value)
    taken = replace(
        account,
        cash=cash,
        side=side,
        quantity=abs(position),
        largest=abs(position),
        entry_price=entry_price if side else 0.0,
    )
    cash -= taken.equity_at(price, point_value) - cash
    return replace(taken, cash=cash, entry_cash=cash)


def mark_account(
    account: Account, price: float, new_session: bool, point_value: float, config: RiskConfig
) -> Account:
    """Return the account marked to market at a close; a new session forgets peak and halt."""
    equity = np.array([account.equity_at(price, point_value)])
    peak, halted = session_limits(
        equity,
        np.array([account.equity]),
        np.array([account.session_peak]),
        np.array([account.halted]),
        np.array([new_session]),
        config,
    )
    return replace(
        account,
        equity=float(equity[0]),
        session_peak=float(peak[0]),
        halted=bool(halted[0]),
    )


def account_view(
    account: Account, price: float, tradable: bool, point_value: float, config: RiskConfig
) -> AccountView:
    """Return what the risk limits see (N = 1) with the position valued at ``price``."""
    marked = mark_account(account, price, False, point_value, config)
    return AccountView(
        equity=np.array([marked.equity]),
        session_peak=np.array([marked.session_peak]),
        position_side=np.array([account.side], dtype=np.int64),
        position_quantity=np.array([account.quantity]),
        halted=np.array([marked.halted]),
        tradable=np.array([tradable]),
    )
