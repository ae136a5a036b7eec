"""One account, one bar at a time, in plain Python: sections 3 to 6 of the specification.

Shares no code with the product, only its value types (bars, features, instrument, configuration).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.types import Instrument

WEIGHTS = {
    0: (0.33, 0.33, 0.34),
    1: (0.5, 0.3, 0.2),
    2: (0.4, 0.4, 0.2),
    3: (0.3, 0.5, 0.2),
    4: (0.35, 0.35, 0.3),
}
EPSILON = 1e-9


@dataclass(frozen=True)
class ReferenceVote:
    side: int
    score: float
    scores: tuple[float, float, float]
    reason: str
    aggressive: bool


def reference_vote(
    votes: list[tuple[int, float]],
    kind: int,
    direction: int,
    threshold: float = 0.65,
    veto: bool = True,
    min_agents: int = 2,
    factor: float = 0.7,
    table: dict[int, tuple[float, float, float]] | None = None,
) -> ReferenceVote:
    """Aggregate three (index, confidence) votes: fvg, momentum, entry."""
    weights = (table or WEIGHTS)[kind]
    names = ("long", "hold", "short")
    scores = {"long": 0.0, "hold": 0.0, "short": 0.0}
    for agent in (0, 1):
        index, confidence = votes[agent]
        scores[names[index]] += weights[agent] * confidence
    entry, entry_confidence = votes[2]
    waits = entry == 0
    leading = "hold"
    if scores["long"] > scores["short"]:
        leading = "long"
    elif scores["short"] > scores["long"]:
        leading = "short"
    scores["hold" if waits else leading] += weights[2] * entry_confidence

    top = max(scores.values())
    winners = [name for name in scores if top - scores[name] <= EPSILON]
    winner = winners[0] if len(winners) == 1 else "hold"
    side = {"long": 1, "hold": 0, "short": -1}[winner]
    score = scores[winner]
    agents = sum(names[votes[agent][0]] == winner for agent in (0, 1))
    agents += not waits and leading == winner
    final = score * factor if side and kind and direction == -side else score
    if side == 0:
        reason = "no_direction"
    elif agents < min_agents:
        reason = "no_agreement"
    elif score < threshold - EPSILON:
        reason = "below_threshold"
    elif final < threshold - EPSILON:
        reason = "counter_synergy"
    elif veto and waits:
        reason = "entry_wait"
    else:
        reason = "execute"
    ordered = (scores["long"], scores["short"], scores["hold"])
    return ReferenceVote(side, final, ordered, reason, entry == 2)


def whole_lots(quantity: float, lot_step: float) -> float:
    return round(math.floor(quantity / lot_step + EPSILON) * lot_step, 10)


def on_tick(price: float, tick_size: float) -> float:
    return round(round(price / tick_size) * tick_size, 10)


@dataclass
class ReferenceTrade:
    side: int
    quantity: float
    decided_t: int
    entry_price: float
    stop: float
    target: float
    opening_fee: float
    spread_paid: float
    after_mitigation: bool
    counter_trend: bool
    funding: float = 0.0
    exit_t: int = -1
    exit_price: float = math.nan
    exit_reason: str = ""
    pnl: float = 0.0
    cost: float = 0.0


@dataclass
class ReferenceStep:
    reason: str
    quantity: float = 0.0
    entered: ReferenceTrade | None = None
    closed: ReferenceTrade | None = None
    equity_change: float = 0.0
    base: float = 0.0
    bonus: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rewards: tuple[float, float, float] = (0.0, 0.0, 0.0)


@dataclass
class ReferenceAccount:
    """An account on a market history. ``t`` is the bar at whose close it stands."""

    market_history: MarketHistory
    rules: Rules
    reward_config: RewardConfig
    t: int = 0
    realized: float = field(init=False)
    equity: float = field(init=False)
    peak: float = field(init=False)
    halted: bool = False
    trade: ReferenceTrade | None = None
    history: list[ReferenceTrade] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.realized = self.equity = self.peak = self.rules.risk.initial_equity

    @property
    def instrument(self) -> Instrument:
        return self.market_history.instrument

    def step(self, votes: list[tuple[int, float]]) -> ReferenceStep:
        market_history, instrument, t = self.market_history, self.instrument, self.t
        bars = market_history.bars
        price, atr = float(bars.close[t]), float(market_history.features.atr[t])
        vote = reference_vote(
            votes,
            int(market_history.synergy.kind[t]),
            int(market_history.synergy.direction[t]),
            self.rules.aggregation.execution_threshold,
            self.rules.aggregation.entry_veto,
            self.rules.aggregation.min_agents,
            self.rules.aggregation.counter_synergy_factor,
        )
        worse = (instrument.half_spread_ticks + instrument.slippage_ticks) * instrument.tick_size
        worse += instrument.slippage_atr_share * atr
        orders = self.rules.orders
        stop = on_tick(price - vote.side * orders.stop_atr * atr, instrument.tick_size)
        target = on_tick(price + vote.side * orders.target_atr * atr, instrument.tick_size)
        loss_per_lot = abs(price - stop) * instrument.point_value
        round_trip = 2 * worse * instrument.point_value + 2 * instrument.commission_per_lot
        loss_per_lot += max(round_trip, 0.0)
        cap = orders.cap_aggressive if vote.aggressive else orders.cap_execute
        share = min(vote.score / orders.full_size_confidence, cap)
        wanted = whole_lots(float(instrument.base_quantity or 0.0) * share, instrument.lot_step)
        wanted = max(wanted, instrument.lot_step)
        reason, quantity = vote.reason, 0.0
        since_gap = int(market_history.sessions.since_gap[t])
        if since_gap < self.rules.risk.hold_bars_after_gap:
            reason = "data_gap"
        if reason == "execute":
            levels = (stop, target)
            reason, quantity = self._limit(vote.side, wanted, price, levels, loss_per_lot)

        result = ReferenceStep(reason, quantity)
        before, halted_before = self.equity, self.halted
        bar = t + 1
        open_, high, low, close = (
            float(column[bar]) for column in (bars.open, bars.high, bars.low, bars.close)
        )
        if self.trade is not None:
            every = instrument.funding_hours * 3600
            begins, before_s = int(bars.timestamp_s[bar]), int(bars.timestamp_s[t])
            for _ in range(begins // every * every, before_s, -every):
                value = self.trade.quantity * open_ * instrument.point_value
                self.trade.funding += self.trade.side * value * instrument.funding_rate
                self.realized -= self.trade.side * value * instrument.funding_rate
        sessions = market_history.sessions
        open_now = bool(sessions.is_open[bar])
        leaves = halted_before or reason == "close_opposite"
        if self.trade is not None and leaves and open_now:
            side = self.trade.side
            why = "halt" if halted_before else "opposite"
            result.closed = self._leave(bar, open_ - side * worse, why, worse)
        if reason == "execute" and open_now and not sessions.is_first[bar]:
            raw = market_history.features.raw
            momentum = float(raw[t, 5])
            self.trade = ReferenceTrade(
                side=vote.side,
                quantity=quantity,
                decided_t=t,
                entry_price=open_ + vote.side * worse,
                stop=stop,
                target=target,
                opening_fee=quantity * instrument.commission_per_lot,
                spread_paid=worse,
                after_mitigation=bool(raw[t, 4] == 1 or (t > 0 and raw[t - 1, 4] == 1)),
                counter_trend=momentum * vote.side < 0,
            )
            self.realized -= self.trade.opening_fee
            result.entered = self.trade
        if self.trade is not None and open_now:
            level = self._level_hit(open_, high, low)
            if level is not None:
                at, why = level
                slip = worse if why == "stop" else 0.0
                result.closed = self._leave(bar, at - self.trade.side * slip, why, slip)
        if self.trade is not None and bool(sessions.is_last[bar]):
            side = self.trade.side
            result.closed = self._leave(bar, close - side * worse, "session_end", worse)

        self.t = bar
        self.equity = self.realized
        if self.trade is not None:
            open_profit = self.trade.side * (close - self.trade.entry_price)
            self.equity += open_profit * self.trade.quantity * instrument.point_value
            if self.equity <= 0:
                side = self.trade.side
                result.closed = self._leave(bar, close - side * worse, "liquidation", worse)
                self.equity = self.realized
        if bool(sessions.is_first[bar]):
            self.peak, self.halted = before, False
        self.peak = max(self.peak, self.equity)
        limit = self.rules.risk.session_drawdown_limit
        if self.peak <= 0 or (self.peak - self.equity) / self.peak >= limit:
            self.halted = True
        result.equity_change = self.equity - before
        self._reward(result, price, atr, before, wanted * loss_per_lot)
        return result

    def _limit(
        self,
        side: int,
        wanted: float,
        price: float,
        levels: tuple[float, float],
        loss_per_lot: float,
    ) -> tuple[str, float]:
        stop, target = levels
        risk, instrument = self.rules.risk, self.instrument
        if self.equity <= 0 and self.trade is None:
            return "account_lost", 0.0
        if self.halted:
            return "session_halted", 0.0
        if not self.market_history.sessions.tradable[self.t]:
            return "session_closed", 0.0
        if self.trade is not None and self.trade.side == -side:
            return "close_opposite", self.trade.quantity
        if min(stop, target) <= 0:
            return "level_not_positive", 0.0
        if abs(price - stop) <= 0.5 * instrument.tick_size:
            return "risk_limit", 0.0  # no stop at all: the loss has no bound
        floor = self.peak * (1.0 - risk.session_drawdown_limit)
        budget = min(
            risk.max_risk_per_trade * self.equity,
            risk.drawdown_share_per_trade * (self.equity - floor),
        )
        quantity = min(wanted, whole_lots(max(budget, 0.0) / loss_per_lot, instrument.lot_step))
        if quantity < instrument.lot_step:
            return "risk_limit", 0.0
        most = max(risk.max_leverage * self.equity, 0.0) / (price * instrument.point_value)
        quantity = min(quantity, whole_lots(most, instrument.lot_step))
        if quantity < instrument.lot_step:
            return "leverage_limit", 0.0
        if self.trade is not None:
            return "already_positioned", 0.0
        return "execute", quantity

    def _level_hit(self, open_: float, high: float, low: float) -> tuple[float, str] | None:
        trade = self.trade
        assert trade is not None
        if trade.side > 0:
            if open_ <= trade.stop:
                return open_, "stop"
            if open_ >= trade.target:
                return open_, "target"
            if low <= trade.stop:
                return trade.stop, "stop"
            if high >= trade.target:
                return trade.target, "target"
        else:
            if open_ >= trade.stop:
                return open_, "stop"
            if open_ <= trade.target:
                return open_, "target"
            if high >= trade.stop:
                return trade.stop, "stop"
            if low <= trade.target:
                return trade.target, "target"
        return None

    def _leave(self, bar: int, price: float, why: str, slip: float) -> ReferenceTrade:
        trade, instrument = self.trade, self.instrument
        assert trade is not None
        size = trade.quantity * instrument.point_value
        fee = trade.quantity * instrument.commission_per_lot
        gross = trade.side * (price - trade.entry_price) * size
        self.realized += gross - fee
        trade.exit_t, trade.exit_price, trade.exit_reason = bar, price, why
        trade.pnl = gross - fee - trade.opening_fee - trade.funding
        trade.cost = fee + trade.opening_fee + (trade.spread_paid + slip) * size + trade.funding
        self.history.append(trade)
        self.trade = None
        return trade

    def _reward(
        self, result: ReferenceStep, price: float, atr: float, before: float, wanted_loss: float
    ) -> None:
        market_history, config, instrument, t = (
            self.market_history,
            self.reward_config,
            self.instrument,
            self.t - 1,
        )
        scale = instrument.pnl_scale if instrument.pnl_scale is not None else config.pnl_scale
        result.base = config.base_pnl_weight * math.tanh(result.equity_change / scale)
        shared = fvg = momentum = 0.0
        if result.entered is not None:
            side = result.entered.side
            if market_history.synergy.kind[t] and market_history.synergy.direction[t] == side:
                shared += config.synergy_bonus
            if side * (result.entered.entry_price - price) / price < config.execution_slippage:
                shared += config.execution_bonus
            if wanted_loss / before > config.risk_penalty_above:
                shared += config.risk_penalty
            level = float(market_history.features.raw[t, 2])
            near = instrument.gap_proximity_points
            if level and abs(level - price) <= (atr if near is None else near):
                fvg += config.gap_entry_bonus
            percent = float(market_history.features.raw[t, 5])
            move = price - price / (1.0 + percent / 100.0)  # from the close five bars ago
            momentum += config.trend_bonus * side * math.tanh(move / atr)
        if result.closed is not None:
            if result.closed.after_mitigation and result.closed.pnl > 0:
                fvg += config.mitigation_bonus
            if result.closed.counter_trend and result.closed.pnl < 0:
                momentum += config.counter_trend_penalty
        result.bonus = (shared + fvg, shared + momentum, shared)
        result.rewards = tuple(  # type: ignore[assignment]
            max(-config.clip, min(config.clip, result.base + bonus)) for bonus in result.bonus
        )
