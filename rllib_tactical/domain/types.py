"""The vocabulary that every other module shares: bars, sessions, instruments, constants."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from rllib_tactical.errors import DataError, require

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
AnyArray = NDArray[Any]

AGENTS: Final = ("fvg", "momentum", "entry")
NUM_AGENTS: Final = 3
NUM_ACTIONS: Final = 3
WINDOW: Final = 60
FEATURE_NAMES: Final = (
    "fvg_bullish_active",
    "fvg_bearish_active",
    "fvg_nearest_level",
    "fvg_age",
    "fvg_mitigation_signal",
    "price_momentum_5",
    "volume_ratio",
)
NUM_FEATURES: Final = len(FEATURE_NAMES)

LONG: Final = 1
HOLD: Final = 0
SHORT: Final = -1

SYNERGY_TYPES: Final = ("NONE", "TYPE_1", "TYPE_2", "TYPE_3", "TYPE_4")
UNKNOWN_SYNERGY: Final = len(SYNERGY_TYPES)
"""Kind of a synergy whose type is none of these: weights as for NONE, but its direction counts."""

SYNERGY_KINDS: Final = UNKNOWN_SYNERGY + 1


class StrictConfig:
    """Base of configuration dataclasses: a loader must reject keys that they do not have."""

    __slots__ = ()
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}


class Reason(IntEnum):
    """Why a decision is what it is. The lower-case name is what users see."""

    EXECUTE = 0
    NO_DIRECTION = 1
    NO_AGREEMENT = 2
    BELOW_THRESHOLD = 3
    COUNTER_SYNERGY = 4
    ENTRY_WAIT = 5
    SESSION_HALTED = 6
    SESSION_CLOSED = 7
    RISK_LIMIT = 8
    LEVERAGE_LIMIT = 9
    ALREADY_POSITIONED = 10
    CLOSE_OPPOSITE = 11
    PAUSED = 12
    FORCED_HOLD = 13
    FLATTEN = 14
    STATE_UNAVAILABLE = 15
    DATA_STALE = 16
    DATA_GAP = 17
    LEVEL_NOT_POSITIVE = 18
    ACCOUNT_LOST = 19
    MODEL_LOADING = 20
    DATA_SUSPECT = 21
    POSITION_MISMATCH = 22
    CLOCK_JUMPED = 23
    EVENT_LATE = 24
    EVENT_EARLY = 25
    POSITIONS_LIMIT = 26

    @property
    def code(self) -> str:
        """Return the lower-case code used in reports and over HTTP."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Bars:
    """Closed bars in time order. Arrays have shape (T,) and are read-only.

    ``timestamp_s`` is the bar's OPEN time in whole UTC epoch seconds (int64); prices are positive
    float64, ``volume`` is a non-negative float64.

    Raises:
        DataError: arrays differ in length or are not one-dimensional.
    """

    timestamp_s: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray

    def __post_init__(self) -> None:
        length = np.shape(self.timestamp_s)
        for field in fields(self):
            dtype = np.int64 if field.name == "timestamp_s" else np.float64
            array = np.ascontiguousarray(getattr(self, field.name), dtype=dtype)
            if array.ndim != 1 or array.shape != length:
                raise DataError(f"bars: {field.name} must have shape {length}, found {array.shape}")
            if array.flags.writeable:
                array = array.view()
                array.flags.writeable = False
            object.__setattr__(self, field.name, array)

    def __len__(self) -> int:
        return int(self.timestamp_s.shape[0])

    def __getitem__(self, part: slice) -> Bars:
        return Bars(*(getattr(self, field.name)[part] for field in fields(self)))


@dataclass(frozen=True, slots=True)
class Sessions:
    """Where each bar stands in its trading session. Arrays have shape (T,).

    ``session_id`` (int64) grows by one per session; ``is_first`` marks the bar with which a session
    begins and ``is_last`` the one at whose close positions are flat, the session's last;
    ``elapsed`` (float64, 0..1) is the share of the scheduled session that has passed at the bar's
    close. ``is_open``: the market is open during the bar; ``tradable``: it is open at the bar's
    end. Both are known from the calendar before any bar comes. ``since_gap`` (int64): bars since
    the newest one that is missing, see ``missing_bars.bars_since_gap``.
    """

    session_id: IntArray
    is_first: BoolArray
    is_last: BoolArray
    elapsed: FloatArray
    is_open: BoolArray
    tradable: BoolArray
    since_gap: IntArray

    @classmethod
    def without_gaps(
        cls, session_id: IntArray, is_first: BoolArray, is_last: BoolArray, elapsed: FloatArray
    ) -> Sessions:
        """Return sessions of which every bar is there and no other bar is."""
        count = len(is_last)
        always, no_gap = np.ones(count, dtype=np.bool_), np.full(count, WINDOW, dtype=np.int64)
        return cls(session_id, is_first, is_last, elapsed, always, ~is_last, no_gap)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument(StrictConfig):
    """What is traded and what trading it costs.

    Prices are in quote currency; one lot moves by ``point_value`` dollars per point.
    ``half_spread_ticks`` and ``slippage_ticks`` are paid per side by market orders, slippage plus
    ``slippage_atr_share`` x ATR. ``commission_per_lot`` is paid per side, a rebate when below zero.
    ``base_quantity`` is the size in lots of a full-confidence order;
    None has it chosen so that one mean ATR is about $100. ``gap_proximity_points`` is how near a
    gap level counts as "at the gap" for the fvg agent's bonus; None means one ATR. ``pnl_scale``
    (dollars) overrides the reward scale of the configuration when given. ``funding_rate`` is the
    share of a position's value that longs pay to shorts every ``funding_hours`` hours, counted from
    midnight UTC, as perpetual futures do; below zero shorts pay.

    Raises:
        ConfigError: a value is outside its range; the message names the field.
    """

    symbol: str
    tick_size: float
    point_value: float = 1.0
    lot_step: float = 1.0
    base_quantity: float | None = None
    commission_per_lot: float = 0.0
    half_spread_ticks: float = 0.5
    slippage_ticks: float = 0.0
    slippage_atr_share: float = 0.0
    calendar: str = "24/7"
    timezone: str = "UTC"
    gap_proximity_points: float | None = None
    pnl_scale: float | None = None
    funding_rate: float = 0.0
    funding_hours: int = 8

    def __post_init__(self) -> None:
        require(bool(self.symbol), "instrument.symbol must not be empty", self.symbol)
        for name in ("tick_size", "point_value", "lot_step"):
            value = getattr(self, name)
            require(0 < value < math.inf, f"instrument.{name} must be finite and > 0", value)
        for name in ("commission_per_lot", "funding_rate"):
            value = getattr(self, name)
            require(math.isfinite(value), f"instrument.{name} must be finite", value)
        require(
            self.funding_hours > 0 and 24 % self.funding_hours == 0,
            "instrument.funding_hours must divide 24",
            self.funding_hours,
        )
        for name in ("half_spread_ticks", "slippage_ticks", "slippage_atr_share"):
            value = getattr(self, name)
            require(0 <= value < math.inf, f"instrument.{name} must be finite and >= 0", value)
        for name in ("base_quantity", "gap_proximity_points", "pnl_scale"):
            value = getattr(self, name)
            require(
                value is None or 0 < value < math.inf,
                f"instrument.{name} must be finite and > 0, or null",
                value,
            )
