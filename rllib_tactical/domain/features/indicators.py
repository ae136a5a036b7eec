"""Price and volume indicators: element formulas and their batch recursions.

Element formulas take floats or arrays alike, so that the streaming and the batch computation use
the same arithmetic in the same order and agree bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import Any, Final, TypeVar

import numpy as np

from rllib_tactical.domain.preconditions import Shape, require_shape
from rllib_tactical.domain.types import FloatArray
from rllib_tactical.errors import FeatureError

Number = TypeVar("Number", float, FloatArray)

ATR_PERIOD: Final = 14
BODY_PERIOD: Final = 20
EMA_PERIOD: Final = 20
EMA_WEIGHT: Final = 2.0 / (EMA_PERIOD + 1)
MOMENTUM_LAG: Final = 5
MOMENTUM_LIMIT: Final = 10.0

LANE_BARS: Final = 1024
MIN_LANES: Final = 64
"""Below this a plain loop is as fast as lanes."""


def momentum_percent(close_t: Number, close_tm5: Number) -> Number:
    """Return the 5-bar change in percent, before clipping: (C_t - C_{t-5}) / C_{t-5} x 100."""
    return (close_t - close_tm5) / close_tm5 * 100.0


def ema_step(ema_tm1: Number, value_t: Number) -> Number:
    """Return one step of the exponential mean: EMA_t = a V_t + (1 - a) EMA_{t-1}, a = 2/21."""
    return EMA_WEIGHT * value_t + (1.0 - EMA_WEIGHT) * ema_tm1


def true_range_step(high_t: float, low_t: float, close_tm1: float) -> float:
    """Return max(H - L, |H - C_{t-1}|, |L - C_{t-1}|) (Wilder, 1978)."""
    return max(high_t - low_t, abs(high_t - close_tm1), abs(low_t - close_tm1))


def atr_step(atr_tm1: float, true_range_t: float, t: int) -> float:
    """Return Wilder's average true range at bar ``t`` (0-based).

    The mean of the true ranges so far while t < 14, Wilder smoothing after. Both are the same
    recursion with n = min(t + 1, 14).
    """
    if t >= ATR_PERIOD:
        return wilder_step(atr_tm1, true_range_t)
    return (atr_tm1 * t + true_range_t) / (t + 1)


def wilder_step(atr_tm1: Number, true_range_t: Number) -> Number:
    """Return ATR_t = (13 ATR_{t-1} + TR_t) / 14 (Wilder, 1978)."""
    return (atr_tm1 * (ATR_PERIOD - 1) + true_range_t) / ATR_PERIOD


def momentum_5(close: FloatArray) -> FloatArray:
    """Return price_momentum_5 (T,) in percent, clipped to [-10, 10]; 0 for t < 5.

    Raises:
        FeatureError: ``close`` is not (T,) float64.
    """
    _require_bars(close=close)
    out = np.zeros(len(close))
    raw = momentum_percent(close[MOMENTUM_LAG:], close[:-MOMENTUM_LAG])
    out[MOMENTUM_LAG:] = np.minimum(np.maximum(raw, -MOMENTUM_LIMIT), MOMENTUM_LIMIT)
    return out


def volume_ratio(volume: FloatArray) -> FloatArray:
    """Return V_t / EMA20_t (T,); EMA_0 = V_0; 0 where the EMA is 0.

    Raises:
        FeatureError: ``volume`` is not (T,) float64.
    """
    _require_bars(volume=volume)
    mean = _recursion(ema_step, volume)
    ratio = np.zeros(len(volume))
    np.divide(volume, mean, out=ratio, where=mean != 0.0)
    return ratio


def true_range(high: FloatArray, low: FloatArray, close: FloatArray) -> FloatArray:
    """Return the true range (T,) in price units; TR_0 = H_0 - L_0.

    Raises:
        FeatureError: an array is not (T,) float64.
    """
    _require_bars(high=high, low=low, close=close)
    out = high - low
    previous = close[:-1]
    np.maximum(out[1:], np.abs(high[1:] - previous), out=out[1:])
    np.maximum(out[1:], np.abs(low[1:] - previous), out=out[1:])
    return out


def wilder_atr(high: FloatArray, low: FloatArray, close: FloatArray) -> FloatArray:
    """Return Wilder's 14-bar average true range (T,) in price units.

    Raises:
        FeatureError: an array is not (T,) float64.
    """
    out = true_range(high, low, close)
    for t in range(1, min(ATR_PERIOD, len(out))):
        out[t] = atr_step(float(out[t - 1]), float(out[t]), t)
    out[ATR_PERIOD - 1 :] = _recursion(wilder_step, out[ATR_PERIOD - 1 :])
    return out


def _require_bars(**columns: FloatArray) -> None:
    """Refuse columns of bars that are not float64 arrays (T,) of one length."""
    shape: Shape = ("T",)
    for name, column in columns.items():
        require_shape(column, shape, np.float64, name, FeatureError)
        shape = column.shape


def _recursion(step: Callable[[Any, Any], Any], value: FloatArray) -> FloatArray:
    """Return x_t = step(x_{t-1}, value_t) with x_0 = value_0 (T,), the same bits as a plain loop.

    A long history is cut into lanes that run side by side, each from a guess, and then again from
    where the lane before it ended. A pass that ends every lane where the next one began owes
    nothing to the guesses. Usually that is the second pass, because both recursions forget their
    start to the last bit within a lane; where they do not, the plain loop does the work.
    """
    lanes = (len(value) - 1) // LANE_BARS
    if lanes >= MIN_LANES:
        stop = 1 + lanes * LANE_BARS
        values = np.ascontiguousarray(value[1:stop].reshape(lanes, LANE_BARS).T)
        states = np.empty_like(values)
        start = value[: stop - 1 : LANE_BARS]
        for _ in range(3):
            state = start
            for bar, value_t in enumerate(values):
                states[bar] = state = step(state, value_t)
            proper = np.append(value[:1], state[:-1])
            if np.array_equal(proper, start):
                rest = accumulate(value[stop:].tolist(), step, initial=float(state[-1]))
                return np.concatenate([value[:1], states.T.reshape(-1)[:-1], list(rest)])
            start = proper
    return np.fromiter(accumulate(value.tolist(), step), np.float64, len(value))


def mean_body(body: FloatArray) -> FloatArray:
    """Return the mean candle body (T,) of the up to 20 bars BEFORE t; 0 at t = 0.

    Summed oldest first, so that the streaming sum over the same bars gives the same bits.

    Raises:
        FeatureError: ``body`` is not (T,) float64.
    """
    _require_bars(body=body)
    length = len(body)
    total = np.zeros(length)
    for lag in range(min(BODY_PERIOD, length - 1), 0, -1):
        total[lag:] += body[:-lag]
    count = np.minimum(np.arange(length), BODY_PERIOD)
    return np.divide(total, count, out=np.zeros(length), where=count > 0)
