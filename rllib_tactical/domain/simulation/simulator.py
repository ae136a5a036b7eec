"""The market simulator: N accounts, one bar per step. The only implementation of fills.

Decide at the close of bar t, fill at the open of t+1 plus/minus half spread and slippage. Nothing
fills while the market is closed: an order that would meet the first bar of another session expires.
Shortly after missing bars nothing is ordered; brackets stay in force.
From the fill bar on, stop and target are checked inside each bar: a bar that opens beyond a level
fills at the open; when both levels are inside one bar the stop is taken. Stops are market orders
and pay half spread and slippage, targets are limit orders and pay neither; every side pays
commission. A position that is held into a time of funding pays or receives it at the price at which
the bar opens. The position is flat at the session's last close. When the session drawdown limit is
reached at a close, the position is flattened at the next open and the session is halted. Where no
equity is left at a close, the position is liquidated there and the account is lost: it never trades
again.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from rllib_tactical.domain.decision import costs
from rllib_tactical.domain.decision.costs import _adverse_move, _commission, _market_fill
from rllib_tactical.domain.decision.missing_bars import holds_after_gap
from rllib_tactical.domain.decision.pipeline import Decision, MarketSnapshot, Rules, _decide
from rllib_tactical.domain.decision.risk import (
    AccountView,
    _session_drawdown,
    _session_limits,
)
from rllib_tactical.domain.decision.votes import Votes
from rllib_tactical.domain.preconditions import require_shape
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.domain.simulation.reward_events import reward_events
from rllib_tactical.domain.simulation.rewards import (
    REWARDS,
    STANDARD,
    RewardConfig,
    _compute_rewards,
    _quiet_rewards,
)
from rllib_tactical.domain.simulation.transition import ExitReason, Exits, Step
from rllib_tactical.domain.types import AnyArray, BoolArray, Float32Array, FloatArray, IntArray

ACCOUNT_FEATURES: Final = (
    "position_side",
    "unrealised_pnl_atr",
    "bars_in_trade",
    "session_drawdown_used",
)
"""What the critic sees of an account; the market's part is in ``history.MARKET_FEATURES``."""

COUPLED_FEATURES: Final = (*ACCOUNT_FEATURES, "places_held_elsewhere")
"""What it sees of an account that shares places for positions with those of other instruments."""

_ACCOUNT_STATE: Final = (
    "t",
    "cash",
    "equity",
    "session_peak",
    "halted",
    "side",
    "quantity",
    "entry_price",
    "entry_t",
    "stop",
    "target",
    "_entry_cash",
    "_cost_factor",
    "_trade_cost",
    "_after_mitigation",
    "_counter_trend",
)


class Simulator:
    """N accounts on one market history. Public arrays (N,) describe the close of bar ``t``."""

    def __init__(
        self, history: MarketHistory, rules: Rules, rewards: RewardConfig, num_accounts: int
    ) -> None:
        self.history, self.rules, self.rewards = history, rules, rewards
        self.num_accounts = num_accounts
        self.full: BoolArray | None = None
        """Whether other instruments' positions hold all places (N,); set by who knows of them."""
        instrument = history.instrument
        self._pnl_scale = instrument.pnl_scale or rewards.pnl_scale
        REWARDS.get(rewards.function)  # an unknown name is found before the first step
        count = num_accounts
        self.t = np.zeros(count, dtype=np.int64)
        self.cash = np.zeros(count)
        self.equity = np.zeros(count)
        self.session_peak = np.zeros(count)
        self.halted = np.zeros(count, dtype=np.bool_)
        self.side = np.zeros(count, dtype=np.int64)
        self.quantity = np.zeros(count)
        self.entry_price = np.zeros(count)
        self.entry_t = np.zeros(count, dtype=np.int64)
        self.stop = np.zeros(count)
        self.target = np.zeros(count)
        self._entry_cash = np.zeros(count)  # cash before the open trade's first cost
        self._cost_factor = np.ones(count)
        self._trade_cost = np.zeros(count)
        self._after_mitigation = np.zeros(count, dtype=np.bool_)
        self._counter_trend = np.zeros(count, dtype=np.bool_)
        self._funding: IntArray | None = None  # payments due at the open of each bar (T,)
        if instrument.funding_rate:
            self._funding = costs.funding_payments(history.bars.timestamp_s, instrument)
        sessions = history.sessions
        # an order reaches the next bar of its own session only
        self._fillable = sessions.is_open & ~sessions.is_first
        self._closes_inside = not bool(sessions.is_open.all())  # breaks, or bars out of hours
        holds = holds_after_gap(sessions.since_gap, rules.risk.hold_bars_after_gap)
        self._after_gap = holds if holds.any() else None
        self._no_exits = Exits.none(count)  # returned by every step without an exit
        self.reset(np.arange(count), np.zeros(count, dtype=np.int64))

    def reset(
        self,
        accounts: IntArray,
        t: IntArray,
        equity: FloatArray | None = None,
        cost_factor: FloatArray | float = 1.0,
    ) -> None:
        """Start ``accounts`` (K,) afresh, flat, at the close of bars ``t`` (K,).

        ``equity`` (K,) in dollars; the rules' initial equity when None. ``cost_factor`` multiplies
        what fills cost; orders are sized for the instrument's own costs.

        Raises:
            ArrayError: an array of another rank, shape or dtype.
        """
        require_shape(accounts, ("K",), np.integer, "accounts")
        require_shape(t, accounts.shape, np.integer, "t")
        if equity is None:
            equity = np.full(len(accounts), self.rules.risk.initial_equity)
        require_shape(equity, accounts.shape, np.float64, "equity")
        if isinstance(cost_factor, np.ndarray):
            require_shape(cost_factor, accounts.shape, np.float64, "cost_factor")
        self.t[accounts] = t
        self._cost_factor[accounts] = cost_factor
        for array in (self.cash, self.equity, self.session_peak):
            array[accounts] = equity
        for flags in (self.halted, self._after_mitigation, self._counter_trend):
            flags[accounts] = False
        self.side[accounts] = 0
        self.quantity[accounts] = 0.0

    def state(self) -> dict[str, AnyArray]:
        """Return copies of the accounts' state, arrays (N,) by name."""
        return {name.removeprefix("_"): getattr(self, name).copy() for name in _ACCOUNT_STATE}

    def set_state(self, state: dict[str, AnyArray]) -> None:
        """Restore the accounts from ``state``, taken from as many accounts on this history.

        Raises:
            ArrayError: the state is of another number of accounts or of other dtypes.
        """
        for name in _ACCOUNT_STATE:
            array, key = getattr(self, name), name.removeprefix("_")
            require_shape(state[key], array.shape, array.dtype.type, key)
            setattr(self, name, state[key].copy())

    @property
    def open_cost(self) -> FloatArray:
        """Dollars (N,) of spread, slippage, commission and funding that the open trade has paid.

        0 when flat.
        """
        return np.where(self.side != 0, self._trade_cost, 0.0)

    def market(self) -> MarketSnapshot:
        """Return what decisions see of the market at the close of ``t``."""
        history, t = self.history, self.t
        return MarketSnapshot(
            price=history.bars.close[t],
            atr=history.features.atr[t],
            synergy_kind=history.synergy.kind[t],
            synergy_direction=history.synergy.direction[t],
            after_gap=None if self._after_gap is None else self._after_gap[t],
        )

    def view(self) -> AccountView:
        """Return what the risk limits see of the accounts."""
        return AccountView(
            equity=self.equity,
            session_peak=self.session_peak,
            position_side=self.side,
            position_quantity=self.quantity,
            halted=self.halted,
            tradable=self.history.sessions.tradable[self.t],
            full=self.full,
        )

    def step(self, votes: Votes) -> Step:
        """Decide at the close of ``t``, fill and mark on bar t + 1, and move there.

        Every account must be before the market history's last bar.

        Raises:
            ArrayError: votes of another rank, shape or dtype, or out of range.
        """
        market = self.market()
        decision = _decide(votes, market, self.view(), self.history.instrument, self.rules)
        return self.carry_out(decision, market)

    def carry_out(self, decision: Decision, market: MarketSnapshot | None = None) -> Step:
        """Fill decisions at the close of ``t`` and mark on bar t + 1, and move there.

        Every account must be before the market history's last bar.

        Args:
            decision: of the accounts, whoever made it.
            market: what ``market`` returned; asked again when None.
        """
        history, t = self.history, self.t
        market = self.market() if market is None else market
        bar, equity_before = t + 1, self.equity
        self._exits = self._no_exits

        who = self.side.nonzero()[0]
        if len(who):
            if self._funding is not None:
                self._pay_funding(who, self._funding[bar[who]])
            who = self._open_at(who[(self.halted | decision.closes)[who]], bar)
            if len(who):
                why = np.where(self.halted[who], int(ExitReason.HALT), int(ExitReason.OPPOSITE))
                self._close_at_market(who, history.bars.open[bar[who]], why)

        entered = decision.execute & ~decision.closes
        entry_price = self._no_exits.price  # NaN
        who = entered.nonzero()[0]
        if len(who):
            entered &= self._fillable[bar]
            who = entered.nonzero()[0]
        enters = len(who) > 0
        if enters:
            self._enter(who, decision, history.bars.open[bar[who]])
            entry_price = np.full(self.num_accounts, np.nan)
            entry_price[who] = self.entry_price[who]

        who = self._open_at(self.side.nonzero()[0], bar)
        if len(who):
            self._check_levels(who)
            who = history.sessions.is_last[bar].nonzero()[0]
            who = who[self.side[who] != 0]
            if len(who):
                why = np.full(len(who), int(ExitReason.SESSION_END))
                self._close_at_market(who, history.bars.close[bar[who]], why)

        self._mark(equity_before)
        self.t = bar
        exits, change = self._exits, self.equity - equity_before
        if enters or exits.count or self.rewards.function != STANDARD:
            events = reward_events(
                history, t, decision, market, entered, entry_price, exits, change, equity_before
            )
            rewards, base, bonus = _compute_rewards(events, self.rewards, self._pnl_scale)
        else:
            rewards, base, bonus = _quiet_rewards(change, self.rewards, self._pnl_scale)
        return Step(
            t=t,
            decision=decision,
            entered=entered,
            exited=exits.exited,
            entry_price=entry_price,
            exit_price=exits.price,
            exit_reason=exits.reason,
            quantity=exits.quantity,
            trade_side=exits.side,
            trade_entry_t=exits.entry_t,
            trade_entry_price=exits.entry_price,
            trade_pnl=exits.pnl,
            trade_cost=exits.cost,
            equity_change=change,
            rewards=rewards,
            base=base,
            bonus=bonus,
        )

    def account_features(self) -> Float32Array:
        """Return the critic's view of the accounts (N, 4) float32, ordered as ACCOUNT_FEATURES.

        Unrealized P&L is in ATRs, clipped to [-10, 10]; bars in trade in units of 60 bars, capped
        at 2; the drawdown used is a share of the limit, capped at 2.
        """
        t = self.t
        drawdown = _session_drawdown(self.equity, self.session_peak)
        out = np.zeros((len(t), len(ACCOUNT_FEATURES)), dtype=np.float32)
        who = self.side.nonzero()[0]
        if len(who):
            side, held_t = self.side[who], t[who]
            atr, close = self.history.features.atr[held_t], self.history.bars.close[held_t]
            move = side * (close - self.entry_price[who])
            pnl_atr = np.divide(move, atr, out=np.zeros(len(who)), where=atr > 0)
            out[who, 0] = side
            out[who, 1] = np.minimum(np.maximum(pnl_atr, -10.0), 10.0)
            out[who, 2] = np.minimum((held_t - self.entry_t[who]) / 60.0, 2.0)
        out[:, 3] = np.minimum(drawdown / self.rules.risk.session_drawdown_limit, 2.0)
        return out

    def _open_at(self, who: IntArray, bar: IntArray) -> IntArray:
        """Return those of accounts ``who`` whose market is open during ``bar`` (N,)."""
        return who[self.history.sessions.is_open[bar[who]]] if self._closes_inside else who

    def _adverse(self, who: IntArray) -> FloatArray:
        """Return by how much market orders of accounts ``who`` (K,) fill worse on bar t + 1."""
        atr = self.history.features.atr[self.t[who]]
        return _adverse_move(atr, self.history.instrument) * self._cost_factor[who]

    def _enter(self, who: IntArray, decision: Decision, open_: FloatArray) -> None:
        history, instrument = self.history, self.history.instrument
        t, side, quantity = self.t[who], decision.action[who], decision.quantity[who]
        price = _market_fill(open_, side, self._adverse(who))
        fee = _commission(quantity, instrument, self._cost_factor[who])
        self._entry_cash[who] = self.cash[who]
        self._trade_cost[who] = fee + np.abs(price - open_) * quantity * instrument.point_value
        self.cash[who] -= fee
        self.side[who], self.quantity[who] = side, quantity
        self.entry_price[who], self.entry_t[who] = price, t
        self.stop[who], self.target[who] = decision.stop[who], decision.target[who]
        signal = history.features.raw[:, 4]
        self._after_mitigation[who] = (signal[t] > 0) | (signal[np.maximum(t - 1, 0)] > 0)
        self._counter_trend[who] = np.sign(history.features.raw[t, 5]) == -side

    def _pay_funding(self, who: IntArray, payments: IntArray) -> None:
        """Charge the positions of accounts ``who`` (K,) for ``payments`` (K,) before bar t + 1."""
        price = self.history.bars.open[self.t[who] + 1]
        side, quantity = self.side[who], self.quantity[who]
        paid = payments * costs.funding(side, quantity, price, self.history.instrument)
        self.cash[who] -= paid
        self._trade_cost[who] += paid

    def _check_levels(self, who: IntArray) -> None:
        """Close accounts whose stop or target bar t + 1 reaches; mirrored so that up is profit."""
        bars, bar, side = self.history.bars, self.t[who] + 1, self.side[who]
        stop, target = self.stop[who] * side, self.target[who] * side
        low, high = bars.low[bar] * side, bars.high[bar] * side  # the other way round when short
        stopped = np.minimum(low, high) <= stop
        done = (stopped | (np.maximum(low, high) >= target)).nonzero()[0]
        if len(done):
            who, side, stop, target = who[done], side[done], stop[done], target[done]
            start = bars.open[bar[done]] * side
            # a limit at the open fills before anything inside the bar
            stopped = stopped[done] & (start < target)
            level = np.where(stopped, np.minimum(start, stop), np.maximum(start, target))
            cost = np.where(stopped, self._adverse(who), 0.0)
            price = np.asarray((level - cost) * side, dtype=np.float64)
            why = np.where(stopped, int(ExitReason.STOP), int(ExitReason.TARGET))
            self._close(who, price, why, cost)

    def _close_at_market(self, who: IntArray, price: FloatArray, why: IntArray) -> None:
        """Close accounts ``who`` (K,) by market orders at the bar's ``price`` (K,)."""
        adverse = self._adverse(who)
        self._close(who, _market_fill(price, -self.side[who], adverse), why, adverse)

    def _close(self, who: IntArray, price: FloatArray, why: IntArray, adverse: FloatArray) -> None:
        if not self._exits.count:
            self._exits = Exits.empty(self.num_accounts)
        instrument, exits = self.history.instrument, self._exits
        exits.count += len(who)
        side, quantity = self.side[who], self.quantity[who]
        fee = _commission(quantity, instrument, self._cost_factor[who])
        gained = side * (price - self.entry_price[who]) * quantity * instrument.point_value
        self.cash[who] += gained - fee
        exits.exited[who], exits.reason[who], exits.price[who] = True, why, price
        exits.side[who], exits.quantity[who] = side, quantity
        exits.entry_t[who], exits.entry_price[who] = self.entry_t[who], self.entry_price[who]
        exits.pnl[who] = self.cash[who] - self._entry_cash[who]
        exits.cost[who] = self._trade_cost[who] + fee + adverse * quantity * instrument.point_value
        exits.after_mitigation[who] = self._after_mitigation[who]
        exits.counter_trend[who] = self._counter_trend[who]
        self.side[who] = 0
        self.quantity[who] = 0.0

    def _mark(self, equity_before: FloatArray) -> None:
        """Value the accounts at the close of bar t + 1, liquidate the lost, halt at the limit."""
        history, bar = self.history, self.t + 1
        self.equity = self.cash.copy()
        who = self.side.nonzero()[0]
        if len(who):
            close = history.bars.close[bar[who]]
            held = self.side[who] * (close - self.entry_price[who])
            self.equity[who] += held * self.quantity[who] * history.instrument.point_value
            lost = (self.equity[who] <= 0.0).nonzero()[0]
            if len(lost):
                why = np.full(len(lost), int(ExitReason.LIQUIDATION))
                self._close_at_market(who[lost], close[lost], why)
                self.equity[who[lost]] = self.cash[who[lost]]
        self.session_peak, self.halted = _session_limits(
            self.equity,
            equity_before,
            self.session_peak,
            self.halted,
            history.sessions.is_first[bar],
            self.rules.risk,
        )
