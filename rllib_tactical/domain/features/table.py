"""The seven raw features per bar, the 60x7 matrix, and the network input made from it.

Row t is known at the close of bar t. ``compute_features`` works on a whole history,
``FeatureStream`` bar by bar; started at the same bar they agree bit for bit, and started at
different bars they agree to 1e-6 once both have seen ``WARMUP_BARS``.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from rllib_tactical.domain.features import fvg, indicators
from rllib_tactical.domain.preconditions import require_shape
from rllib_tactical.domain.types import (
    FEATURE_NAMES,
    NUM_FEATURES,
    WINDOW,
    Bars,
    Float32Array,
    FloatArray,
    IntArray,
)
from rllib_tactical.errors import FeatureError

WARMUP_BARS: Final = 300
"""Bars after which a feature row no longer depends on where the history began (to 1e-6).

The slowest memory is Wilder's ATR, which forgets a share (13/14)^n: 2e-10 after 300 bars.
"""

LEVEL_ATRS: Final = 4.0
MOMENTUM_SCALE: Final = 5.0

FEATURE_SPEC: Final = {
    "version": 1,
    "window": WINDOW,
    "columns": list(FEATURE_NAMES),
    "atr_period": indicators.ATR_PERIOD,
    "body_period": indicators.BODY_PERIOD,
    "body_factor": fvg.BODY_FACTOR,
    "gap_max_age": fvg.MAX_AGE,
    "ema_period": indicators.EMA_PERIOD,
    "momentum_lag": indicators.MOMENTUM_LAG,
    "momentum_limit": indicators.MOMENTUM_LIMIT,
    "level_atrs": LEVEL_ATRS,
    "momentum_scale": MOMENTUM_SCALE,
    "warmup_bars": WARMUP_BARS,
}


def feature_hash() -> str:
    """Return the SHA-256 (hex) of the feature specification."""
    return hashlib.sha256(json.dumps(FEATURE_SPEC, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """Features of a history. ``raw`` (T, 7), ``atr`` (T,), ``close`` (T,) float64.

    ``birth`` (T,) int8 marks gap births (+1 bullish, -1 bearish).
    """

    raw: FloatArray
    atr: FloatArray
    close: FloatArray
    birth: NDArray[np.int8]

    def __len__(self) -> int:
        return int(self.raw.shape[0])


def compute_features(bars: Bars) -> FeatureTable:
    """Return the raw features and ATR of every bar; row t depends on bars <= t only."""
    gaps = fvg.track_gaps(bars)
    raw = np.empty((len(bars), NUM_FEATURES))
    raw[:, :5] = gaps.columns
    raw[:, 5] = indicators.momentum_5(bars.close)
    raw[:, 6] = indicators.volume_ratio(bars.volume)
    atr = indicators.wilder_atr(bars.high, bars.low, bars.close)
    return FeatureTable(raw, atr, bars.close, gaps.birth)


@dataclass(frozen=True, slots=True)
class FeatureStreamState:
    """What a ``FeatureStream`` holds, as numbers: the newest closes and rows, and running means."""

    gaps: fvg.GapStreamState
    closes: tuple[float, ...]
    rows: tuple[tuple[float, ...], ...]
    ema: float
    atr: float
    close: float
    count: int


class FeatureStream:
    """Streaming assembler: bars pushed one at a time, the 60x7 matrix at any time."""

    def __init__(self) -> None:
        self._gaps = fvg.GapStream()
        self._closes: deque[float] = deque(maxlen=indicators.MOMENTUM_LAG + 1)
        self._rows: deque[tuple[float, ...]] = deque(maxlen=WINDOW)
        self._ema = 0.0
        self.atr = 0.0
        self.close = 0.0
        self.count = 0

    def state(self) -> FeatureStreamState:
        """Return what ``resumed`` needs to go on from here."""
        return FeatureStreamState(
            self._gaps.state(),
            tuple(self._closes),
            tuple(self._rows),
            self._ema,
            self.atr,
            self.close,
            self.count,
        )

    @classmethod
    def resumed(cls, state: FeatureStreamState) -> FeatureStream:
        """Return a stream that goes on from ``state``, bit for bit."""
        stream = cls()
        stream._gaps = fvg.GapStream.resumed(state.gaps)
        stream._closes.extend(state.closes)
        stream._rows.extend(state.rows)
        stream._ema, stream.atr = state.ema, state.atr
        stream.close, stream.count = state.close, state.count
        return stream

    def push(
        self, open_t: float, high_t: float, low_t: float, close_t: float, volume_t: float
    ) -> tuple[float, ...]:
        """Take one closed bar (prices, volume as floats) and return its seven raw features."""
        t = self.count
        gap_row = self._gaps.push(open_t, high_t, low_t, close_t)
        true_range = indicators.true_range_step(high_t, low_t, self.close) if t else high_t - low_t
        self.atr = indicators.atr_step(self.atr, true_range, t)
        self._ema = indicators.ema_step(self._ema, volume_t) if t else volume_t
        ratio = volume_t / self._ema if self._ema != 0.0 else 0.0
        self._closes.append(close_t)
        momentum = 0.0
        if t >= indicators.MOMENTUM_LAG:
            limit = indicators.MOMENTUM_LIMIT
            raw = indicators.momentum_percent(close_t, self._closes[0])
            momentum = min(max(raw, -limit), limit)
        row = (*gap_row, momentum, ratio)
        self._rows.append(row)
        self.close = close_t
        self.count = t + 1
        return row

    @property
    def birth(self) -> int:
        """Sign of the gap born on the last bar (+1 bullish, -1 bearish, 0 none)."""
        return self._gaps.birth

    def matrix(self) -> FloatArray:
        """Return the raw matrix (60, 7) float64, oldest row first.

        Raises:
            FeatureError: fewer than 60 bars have been pushed.
        """
        if self.count < WINDOW:
            raise FeatureError(f"a matrix needs {WINDOW} bars, found {self.count}")
        return np.array(self._rows)


def static_input(raw: FloatArray) -> FloatArray:
    """Return the network input (..., 7) of the columns that no later bar changes; column 2 is 0.

    Raises:
        FeatureError: ``raw`` is not (..., 7) float64.
    """
    require_shape(raw, ("...", NUM_FEATURES), np.float64, "raw", FeatureError)
    out = np.zeros(raw.shape)
    for column in (0, 1, 4):
        out[..., column] = raw[..., column]
    out[..., 3] = raw[..., 3] / float(fvg.MAX_AGE)
    out[..., 5] = np.tanh(raw[..., 5] / MOMENTUM_SCALE)
    out[..., 6] = np.tanh(np.log(1.0 + np.maximum(0.0, raw[..., 6] - 1.0)))
    return out


def level_input(
    level: FloatArray, close_now: FloatArray | float, atr_now: FloatArray | float
) -> FloatArray:
    """Return tanh((level - close_now) / (4 ATR_now)); 0 where there is no level or no ATR.

    ``close_now`` and ``atr_now`` are broadcast against ``level`` (...,).

    Raises:
        FeatureError: ``level`` is not float64.
    """
    require_shape(level, ("...",), np.float64, "level", FeatureError)
    return _level_input(level, close_now, atr_now)


def _level_input(
    level: FloatArray, close_now: FloatArray | float, atr_now: FloatArray | float
) -> FloatArray:
    scale = LEVEL_ATRS * atr_now
    known = (level != 0.0) & (scale > 0.0)
    distance = np.divide(level - close_now, scale, out=np.zeros(level.shape), where=known)
    return np.tanh(distance)


def network_input(raw: FloatArray, close_now: FloatArray, atr_now: FloatArray) -> Float32Array:
    """Return the network input of raw matrices.

    Args:
        raw: (..., 60, 7) float64 raw matrices, oldest row first.
        close_now: (...,) close of each matrix's last bar.
        atr_now: (...,) ATR of each matrix's last bar, price units.

    Raises:
        FeatureError: another shape or a value that is not finite.
    """
    raw = np.asarray(raw, dtype=np.float64)
    close_now = np.asarray(close_now, dtype=np.float64)
    atr_now = np.asarray(atr_now, dtype=np.float64)
    require_shape(raw, ("...", WINDOW, NUM_FEATURES), np.float64, "raw", FeatureError)
    require_shape(close_now, raw.shape[:-2], np.float64, "close_now", FeatureError)
    require_shape(atr_now, raw.shape[:-2], np.float64, "atr_now", FeatureError)
    if not (np.isfinite(raw).all() and np.isfinite(close_now).all() and np.isfinite(atr_now).all()):
        raise FeatureError("matrix, close and ATR must be finite")
    out = static_input(raw)
    out[..., 2] = level_input(
        np.ascontiguousarray(raw[..., 2]), close_now[..., None], atr_now[..., None]
    )
    return out.astype(np.float32)


def mirrored_inputs(inputs: Float32Array) -> Float32Array:
    """Return network inputs (N, 60, 7) as they would be if up was down."""
    out = inputs.copy()
    out[..., 0], out[..., 1] = inputs[..., 1], inputs[..., 0]
    out[..., 2], out[..., 5] = -inputs[..., 2], -inputs[..., 5]
    return out


_ViewState = tuple[Float32Array, FloatArray, NDArray[np.int32], FloatArray, FloatArray]


class InputViews:
    """Network inputs of any bars of one feature table, gathered when they are needed.

    Holds the static columns once as float32 (T, 7); ``gather`` returns exactly what
    ``network_input`` returns for the same raw matrices. The nearest level stays the same for runs
    of bars, so its tanh, the expensive part, is taken once per run of a window, not once per bar.
    """

    def __init__(self, table: FeatureTable) -> None:
        self._static = static_input(table.raw).astype(np.float32)
        level = table.raw[:, 2]
        changes = np.flatnonzero(level[1:] != level[:-1]) + 1
        self._level = level[np.append(0, changes)]  # of each run
        self._run = np.zeros(len(level), dtype=np.int32)  # of each bar
        self._run[changes] = 1
        np.cumsum(self._run, out=self._run)
        self._close, self._atr = table.close, table.atr
        self._make_views()

    def _make_views(self) -> None:
        self._windows = sliding_window_view(self._static.reshape(-1), WINDOW * NUM_FEATURES)
        self._windows = self._windows[::NUM_FEATURES]
        self._runs = sliding_window_view(self._run, WINDOW)

    def __getstate__(self) -> _ViewState:
        # the views overlap: pickled as they are, every bar would be stored sixty times
        return self._static, self._level, self._run, self._close, self._atr

    def __setstate__(self, state: _ViewState) -> None:
        self._static, self._level, self._run, self._close, self._atr = state
        self._make_views()

    def gather(self, t: IntArray) -> Float32Array:
        """Return inputs (N, 60, 7) float32 for decision bars ``t`` (N,).

        Raises:
            FeatureError: ``t`` is not (N,) integer, or a bar has no full window before it.
        """
        require_shape(t, ("N",), np.integer, "t", FeatureError)
        if len(t) == 1:  # a single account: half the cost without looking for runs
            return self._window(t.item())[None]
        start = t - (WINDOW - 1)
        if len(start):
            _require_window(int(start.min()))
        out = self._windows[start].reshape(-1, WINDOW, NUM_FEATURES)
        first = self._run[start]
        counts = self._run[t] - first + 1
        # run r of window i stands at r + shift[i] in the list of all windows' runs
        shift = counts.cumsum() - counts - first
        bar = t.repeat(counts)
        level = self._level[np.arange(len(bar)) - shift.repeat(counts)]
        inputs = _level_input(level, self._close[bar], self._atr[bar]).astype(np.float32)
        out[:, :, 2] = inputs[self._runs[start] + shift[:, None]]
        return out

    def _window(self, t: int) -> Float32Array:
        """Return the input (60, 7) of one bar."""
        start = t - (WINDOW - 1)
        _require_window(start)
        out = self._static[start : t + 1].copy()
        level = self._level[self._run[start : t + 1]]
        out[:, 2] = _level_input(level, self._close.item(t), self._atr.item(t))
        return out


def _require_window(start: int) -> None:
    if start < 0:  # a negative index would read the end of the history, which is the future
        raise FeatureError(f"a window needs {WINDOW} bars, found {start + WINDOW}")
