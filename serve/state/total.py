"""The limits over the sum of all accounts: a breach halts every symbol."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import msgspec


class TotalLimits(msgspec.Struct, frozen=True):
    """Limits of the sum as shares; None for no limit.

    ``drawdown`` from the session's highest sum; ``daily_loss`` from the sum at its start.
    """

    drawdown: float | None = None
    daily_loss: float | None = None


NO_LIMITS: Final = TotalLimits()


class TotalState(msgspec.Struct, frozen=True):
    """Where a ``Total`` stands, for snapshots; ``room`` has None where nothing was marked yet."""

    limits: TotalLimits
    start: float
    peak: float
    room: tuple[float | None, float | None]
    began: dict[str, int]


class Total:
    """The equity of all accounts together, in dollars, against its limits.

    A session of the sum begins once every account has begun one since the last: then start and
    peak are what the sum was before. A halt lasts until then.

    Args:
        equity: the sum at the start.
    """

    def __init__(self, equity: float) -> None:
        self.limits = NO_LIMITS
        self.start = self.peak = self.equity = equity
        # how far the sum has been above the limits of drawdown and daily loss, at the least
        self._room = [math.inf, math.inf]
        self._began: dict[str, int] = {}

    def state(self) -> TotalState:
        """Return what ``resume`` needs to go on from here."""
        drawdown, loss = (room if math.isfinite(room) else None for room in self._room)
        began = dict(self._began)
        return TotalState(self.limits, self.start, self.peak, (drawdown, loss), began)

    def resume(self, state: TotalState, equity: float) -> None:
        """Go on from where ``state`` was taken."""
        self.limits, self.start, self.peak = state.limits, state.start, state.peak
        self._room = [math.inf if room is None else room for room in state.room]
        self._began, self.equity = dict(state.began), equity

    @property
    def halted(self) -> bool:
        """Whether the sum has been at a limit in its session."""
        return min(self._room) <= 0.0

    @property
    def drawdown(self) -> float:
        """How far the sum is below its session's peak, as a share; 1 where there is none."""
        return (self.peak - self.equity) / self.peak if self.peak > 0.0 else 1.0

    def limit(self, limits: TotalLimits) -> None:
        """Apply other limits from now on; a halt stays."""
        self.limits = limits
        self._look()

    def move(self, amount: float) -> None:
        """Count money that came without being earned, or went (``amount`` below zero)."""
        self.start += amount
        self.peak += amount
        self.equity += amount

    def mark(self, equity: float, sessions: Mapping[str, int]) -> None:
        """Take the sum after an event.

        Args:
            equity: of all accounts.
            sessions: how many sessions each account that counts has begun.
        """
        before, self.equity = self.equity, equity
        for symbol, count in sessions.items():
            self._began.setdefault(symbol, count)
        if sessions and all(count > self._began[symbol] for symbol, count in sessions.items()):
            self._began = dict(sessions)
            self.start = self.peak = before
            self._room = [math.inf, math.inf]
        self._look()

    def correct(self, equity: float, highest: float) -> None:
        """Take the sum after something wrong was put right, as if it had never been wrong.

        A halt ends when the sum, with what comes back, would not have been at its limit.

        Args:
            equity: of all accounts.
            highest: the sum of the accounts' peaks, which the sum's cannot exceed.
        """
        gained, before = max(0.0, equity - self.equity), self.peak
        self.equity, self.peak = equity, min(self.peak, highest)
        lowered = (before - self.peak) * (1.0 - (self.limits.drawdown or 0.0))
        back = (gained + lowered, gained)
        self._room = [
            room + more if room <= 0.0 else math.inf
            for room, more in zip(self._room, back, strict=True)
        ]
        self._look()

    def _look(self) -> None:
        """Note how close the sum has come to its limits."""
        self.peak = max(self.peak, self.equity)
        shares = ((self.peak, self.limits.drawdown), (self.start, self.limits.daily_loss))
        for i, (reference, share) in enumerate(shares):
            if share is not None:
                self._room[i] = min(self._room[i], self.equity - reference * (1.0 - share))
