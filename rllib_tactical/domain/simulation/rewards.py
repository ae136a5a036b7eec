"""Rewards: profit and loss first, bonuses by configuration.

base = base_pnl_weight x tanh(change of marked-to-market equity over the bar, net of costs /
pnl_scale); or, with ``timing: on_close``, base_pnl_weight x tanh(net P&L of the trade / pnl_scale)
on the bar that closes it. Bonuses are paid on real entries and on closed trades only: paid always,
they would reward doing nothing. A penalty is a number <= 0 that is added.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from rllib_tactical.domain.preconditions import require_fields, require_shape
from rllib_tactical.domain.types import NUM_AGENTS, BoolArray, FloatArray, StrictConfig
from rllib_tactical.errors import ConfigError, require
from rllib_tactical.registry import Registry

STANDARD: Final = "standard"
"""The reward function of this module."""

PENALTIES: Final = ("risk_penalty", "counter_trend_penalty")
"""Weights of penalties, numbers <= 0 that are added to the reward."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardConfig(StrictConfig):
    """Weights of the reward. ``pnl_scale`` in dollars; the others are dimensionless.

    ``function``: name in ``REWARDS``; ``standard`` is ``standard_reward``. A registered function
    makes of the weights what it likes; ``clip`` and ``shared`` hold for its result too.
    ``timing``: the base pays every bar's change of equity, or a trade's P&L when it closes.
    ``shared``: every agent gets the mean of the three agents' rewards instead of its own.

    Raises:
        ConfigError: a value is not finite, a scale is not positive, a penalty is positive or the
            weight of the base is negative; the message names the field.
    """

    function: str = STANDARD
    base_pnl_weight: float = 1.0
    pnl_scale: float = 300.0
    clip: float = 2.0
    synergy_bonus: float = 0.2
    execution_bonus: float = 0.1
    execution_slippage: float = 0.0005
    risk_penalty: float = -0.5
    risk_penalty_above: float = 0.02
    gap_entry_bonus: float = 0.1
    mitigation_bonus: float = 0.15
    trend_bonus: float = 0.1
    counter_trend_penalty: float = -0.1
    timing: Literal["mark_to_market", "on_close"] = "mark_to_market"
    shared: bool = False

    def __post_init__(self) -> None:
        require(
            self.timing in ("mark_to_market", "on_close"),
            "rewards.timing must be mark_to_market or on_close",
            self.timing,
        )
        for name in self.__dataclass_fields__:
            if name not in ("function", "timing", "shared"):
                value = getattr(self, name)
                require(math.isfinite(value), f"rewards.{name} must be finite", value)
        for name in ("pnl_scale", "clip"):
            require(getattr(self, name) > 0, f"rewards.{name} must be > 0", getattr(self, name))
        require(
            self.base_pnl_weight >= 0, "rewards.base_pnl_weight must be >= 0", self.base_pnl_weight
        )
        for name in PENALTIES:
            value = getattr(self, name)
            require(value <= 0, f"rewards.{name} must be <= 0 (a penalty is added)", value)

    @classmethod
    def pnl_only(cls) -> RewardConfig:
        """Return the preset in which every bonus and penalty is off."""
        return cls(
            synergy_bonus=0.0,
            execution_bonus=0.0,
            risk_penalty=0.0,
            gap_entry_bonus=0.0,
            mitigation_bonus=0.0,
            trend_bonus=0.0,
            counter_trend_penalty=0.0,
        )


@dataclass(slots=True)
class RewardEvents:
    """What the rewards need to know of N accounts on one bar. Arrays have shape (N,).

    ``equity_change`` dollars; ``entered`` / ``closed`` mark entries and closed trades. For entries:
    ``with_synergy`` the side agrees with the synergy in force, ``shortfall`` (fill - decision
    price) / decision price in the adverse direction, ``requested_risk`` the requested size's loss
    at the stop as a share of equity, ``at_gap`` the decision price is near the nearest gap level,
    ``alignment`` side x tanh(5-bar move in ATRs) in [-1, 1]. For closed trades, else 0:
    ``trade_pnl`` net dollars, ``after_mitigation`` the entry came on or right after a mitigation,
    ``counter_trend`` the entry went against the 5-bar momentum.
    """

    equity_change: FloatArray
    entered: BoolArray
    with_synergy: BoolArray
    shortfall: FloatArray
    requested_risk: FloatArray
    at_gap: BoolArray
    alignment: FloatArray
    closed: BoolArray
    trade_pnl: FloatArray
    after_mitigation: BoolArray
    counter_trend: BoolArray


_EVENT_DTYPES: Final[dict[str, type[np.generic]]] = {
    "entered": np.bool_,
    "with_synergy": np.bool_,
    "shortfall": np.float64,
    "requested_risk": np.float64,
    "at_gap": np.bool_,
    "alignment": np.float64,
    "closed": np.bool_,
    "trade_pnl": np.float64,
    "after_mitigation": np.bool_,
    "counter_trend": np.bool_,
}
RewardFunction = Callable[[RewardEvents, RewardConfig, float], tuple[FloatArray, FloatArray]]
"""``(events, config, pnl_scale)`` to the base (N,), the same for all agents, and the bonuses (N, 3)
of fvg, momentum and entry, both float64. Called for every bar, also for one without a trade."""

REWARDS: Final[Registry[RewardFunction]] = Registry(
    "rewards.function", "rllib_tactical.rewards", {STANDARD: f"{__name__}:standard_reward"}
)


def compute_rewards(
    events: RewardEvents, config: RewardConfig, pnl_scale: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return rewards (N, 3) of fvg, momentum, entry, the base (N,), and the bonuses (N, 3).

    A reward is base + bonus, clipped to ``config.clip``.

    Raises:
        ArrayError: an array of another rank, shape or dtype.
        ConfigError: ``config.function`` is unknown, or returns arrays of another shape or dtype.
    """
    require_shape(events.equity_change, ("N",), np.float64, "events.equity_change")
    require_fields(events, events.equity_change.shape, _EVENT_DTYPES, "events")
    return _compute_rewards(events, config, pnl_scale)


def _compute_rewards(
    events: RewardEvents, config: RewardConfig, pnl_scale: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return what ``compute_rewards`` does of events that its caller has made."""
    base, bonus = REWARDS.get(config.function)(events, config, pnl_scale)
    if config.function != STANDARD:
        count, name = events.equity_change.shape, f"rewards.function {config.function}"
        require_shape(base, count, np.float64, f"{name}: base", ConfigError)
        require_shape(bonus, (*count, NUM_AGENTS), np.float64, f"{name}: bonuses", ConfigError)
    return _clipped(base, bonus, config)


def standard_reward(
    events: RewardEvents, config: RewardConfig, pnl_scale: float
) -> tuple[FloatArray, FloatArray]:
    """Return the base (N,) and the bonuses (N, 3) of the formula at the head of this module."""
    on_close = config.timing == "on_close"
    paid = events.trade_pnl if on_close else events.equity_change
    base = config.base_pnl_weight * np.tanh(paid / pnl_scale)
    entered, closed = events.entered, events.closed
    shared = (
        config.synergy_bonus * (entered & events.with_synergy)
        + config.execution_bonus * (entered & (events.shortfall < config.execution_slippage))
        + config.risk_penalty * (entered & (events.requested_risk > config.risk_penalty_above))
    )
    bonus = np.empty((len(base), NUM_AGENTS))
    mitigated_win = closed & events.after_mitigation & (events.trade_pnl > 0)
    bonus[:, 0] = (
        shared
        + config.gap_entry_bonus * (entered & events.at_gap)
        + config.mitigation_bonus * mitigated_win
    )
    counter_loss = closed & events.counter_trend & (events.trade_pnl < 0)
    bonus[:, 1] = (
        shared
        + config.trend_bonus * np.where(entered, events.alignment, 0.0)
        + config.counter_trend_penalty * counter_loss
    )
    bonus[:, 2] = shared
    return base, bonus


def quiet_rewards(
    equity_change: FloatArray, config: RewardConfig, pnl_scale: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the standard reward when nobody entered or closed a trade on the bar.

    Raises:
        ArrayError: ``equity_change`` is not (N,) float64.
    """
    require_shape(equity_change, ("N",), np.float64, "equity_change")
    return _quiet_rewards(equity_change, config, pnl_scale)


def _quiet_rewards(
    equity_change: FloatArray, config: RewardConfig, pnl_scale: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    on_close = config.timing == "on_close"
    weight = config.base_pnl_weight
    base = np.zeros(len(equity_change)) if on_close else weight * np.tanh(equity_change / pnl_scale)
    return _clipped(base, np.zeros((len(base), NUM_AGENTS)), config)


def _clipped(
    base: FloatArray, bonus: FloatArray, config: RewardConfig
) -> tuple[FloatArray, FloatArray, FloatArray]:
    total = np.minimum(np.maximum(base[:, None] + bonus, -config.clip), config.clip)
    if config.shared:
        total = np.repeat(total.mean(axis=1, keepdims=True), NUM_AGENTS, axis=1)
    return total, base, bonus
