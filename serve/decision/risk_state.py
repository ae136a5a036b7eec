"""A replica's copy of the state, in the form in which decisions use it."""

from __future__ import annotations

from typing import Final

import numpy as np

from rllib_tactical.config.service import ServiceConfig
from rllib_tactical.data.calendar.sessions import MarketClock
from rllib_tactical.domain.decision.missing_bars import holds_after_gap
from rllib_tactical.domain.decision.override import Control
from rllib_tactical.domain.decision.risk import AccountView, RiskConfig
from rllib_tactical.domain.simulation.account import Account, account_view
from rllib_tactical.domain.types import NUM_FEATURES, WINDOW, FloatArray, Reason
from serve.state.bars import BufferState
from serve.state.machine import Snapshot

LIVE_DEFAULTS: Final = ServiceConfig()


class RiskState:
    """Account, operator's order and market at one version of the state; it never changes.

    ``broker_position`` is what the broker holds while that is not what the fills say, in lots.
    ``clock_jump_s`` is by how many seconds the clock cannot be trusted, 0 when it can.
    ``matrix`` (60, 7) float64 raw features of the bars sent to the service, None before there are
    60.
    """

    def __init__(
        self,
        account: Account,
        control: Control = Control.NONE,
        market: BufferState | None = None,
        service: ServiceConfig = LIVE_DEFAULTS,
        broker_position: float | None = None,
        clock_jump_s: float = 0.0,
    ) -> None:
        self.account, self.control, self.market = account, control, market
        self.broker_position, self.clock_jump_s = broker_position, clock_jump_s
        self._service = service
        self.matrix: FloatArray | None = None
        if market is not None and market.matrix:
            self.matrix = np.frombuffer(market.matrix).reshape(WINDOW, NUM_FEATURES)
        self._flat: dict[tuple[bool, RiskConfig], AccountView] = {}

    @classmethod
    def of(cls, snapshot: Snapshot, service: ServiceConfig, clock_jump_s: float = 0.0) -> RiskState:
        """Return the state that a snapshot describes."""
        return cls(
            snapshot.account,
            snapshot.control,
            snapshot.market,
            service,
            snapshot.broker_position,
            clock_jump_s,
        )

    @property
    def positions(self) -> int:
        """How many positions are open."""
        return abs(self.account.side)

    def view(
        self, price: float, tradable: bool, point_value: float, risk: RiskConfig
    ) -> AccountView:
        """Return the account (N = 1) at a price; without a position no price changes it."""
        if self.account.side:
            return account_view(self.account, price, tradable, point_value, risk)
        found = self._flat.get((tradable, risk))
        if found is None:
            found = account_view(self.account, price, tradable, point_value, risk)
            self._flat[tradable, risk] = found
        return found

    def tradable(self, now_s: float, clock: MarketClock, from_bars: bool) -> bool:
        """Return whether the market is open: by the clock, in a replay by the last bar's end.

        A decision on bars acts at their end, so that then the market has to be open as well.
        """
        at_bar = self.market is None or self.market.tradable
        if not self._service.live_bars:
            return at_bar
        return clock.is_open(now_s) and (at_bar or not from_bars)

    def market_age_s(self, now_s: float, bar_seconds: int) -> float | None:
        """Return how many seconds the next bar is overdue, 0 when it is not, None without bars.

        Live, a bar is due when the calendar has it close. In a replay it is due one bar's length
        after the last bar arrived; nothing is due after the last bar of a session.
        """
        market = self.market
        return None if market is None else self._overdue_s(market, now_s, bar_seconds)

    def data_issue_of(self, now_s: float, bar_seconds: int) -> Reason | None:
        """Return why clock, position or bars cannot be trusted now, None when they can."""
        if self.clock_jump_s:
            return Reason.CLOCK_JUMPED
        if self.broker_position is not None:
            return Reason.POSITION_MISMATCH
        market = self.market
        if market is None:
            return Reason.DATA_STALE
        if self.suspect:
            return Reason.DATA_SUSPECT
        if self._overdue_s(market, now_s, bar_seconds) > self._service.max_bar_age_s:
            return Reason.DATA_STALE
        return None

    @property
    def suspect(self) -> tuple[str, ...]:
        """Market rules that bars of the window break; none in a replay, whose file was checked."""
        if self.market is None or not self._service.live_bars:
            return ()
        return self.market.suspect

    def after_gap(self, risk: RiskConfig) -> bool:
        """Return whether bars are missing so shortly before the last one that decisions hold."""
        since_gap = None if self.market is None else self.market.bars_since_gap
        if since_gap is None:
            return False
        return bool(holds_after_gap(np.array([since_gap]), risk.hold_bars_after_gap)[0])

    def _overdue_s(self, market: BufferState, now_s: float, bar_seconds: int) -> float:
        if self._service.live_bars:
            return max(0.0, now_s - market.due_s)
        if not market.tradable:
            return 0.0
        return max(0.0, now_s - market.arrived_s - bar_seconds)
