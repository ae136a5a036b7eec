"""Fair value gaps: births, touches, ends, and the nearest active level.

A gap is born on bar t when the middle candle's body is large, Body_{t-1} > 1.5 x avg_t, and
the candles around it leave a hole: bullish L_t > H_{t-2} with zone [H_{t-2}, L_t]; bearish
H_t < L_{t-2} with zone [H_t, L_{t-2}]. It is touched the first time price enters its near edge and
ends when price reaches its far edge or when it is more than 60 bars old; the touch counts even
on the bar that ends it.

``track_gaps`` works on a whole history, ``GapStream`` on one bar at a time; both compare the same
numbers, so they agree bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rllib_tactical.domain.features.indicators import BODY_PERIOD, mean_body
from rllib_tactical.domain.types import Bars, FloatArray

MAX_AGE: Final = 60
BODY_FACTOR: Final = 1.5

GapRow = tuple[float, float, float, float, float]


@dataclass(frozen=True, slots=True)
class GapTable:
    """Gap state per bar. ``columns`` (T, 5) float64: the first five raw features, in order.

    ``birth`` (T,) int8: +1 where a bullish gap was born, -1 bearish, 0 none.
    """

    columns: FloatArray
    birth: NDArray[np.int8]


def find_births(bars: Bars) -> NDArray[np.int8]:
    """Return +1 / -1 / 0 (T,) int8 where a bullish / bearish / no gap is born."""
    birth = np.zeros(len(bars), dtype=np.int8)
    if len(bars) < 3:
        return birth
    body = np.abs(bars.close - bars.open)
    large = body[1:-1] > BODY_FACTOR * mean_body(body)[2:]
    birth[2:][large & (bars.low[2:] > bars.high[:-2])] = 1
    birth[2:][large & (bars.high[2:] < bars.low[:-2])] = -1
    return birth


@dataclass(frozen=True, slots=True)
class GapZone:
    """A fair value gap between two prices, active on the bars ``born`` .. ``last``."""

    born: int
    last: int
    low: float
    high: float
    bullish: bool


def gap_zones(bars: Bars, birth: NDArray[np.int8], first: int, last: int) -> list[GapZone]:
    """Return the gaps that are active on some of the bars first .. last, oldest first.

    A gap is active from its birth to the bar before price reaches its far edge, 60 bars at most.

    Args:
        bars: the history.
        birth: (T,) from ``find_births``.
        first: the first bar that is looked at.
        last: the last one.
    """
    begin = max(2, first - MAX_AGE)
    zones = []
    for born in (begin + np.flatnonzero(birth[begin : last + 1])).tolist():
        bullish = bool(birth[born] > 0)
        low, high = (
            (bars.high[born - 2], bars.low[born])
            if bullish
            else (bars.high[born], bars.low[born - 2])
        )
        later = slice(born + 1, born + MAX_AGE + 1)
        reached = bars.low[later] <= low if bullish else bars.high[later] >= high
        held = int(reached.argmax()) if reached.any() else len(reached)
        if born + held >= first:
            zones.append(GapZone(born, born + held, float(low), float(high), bullish))
    return zones


def track_gaps(bars: Bars) -> GapTable:
    """Return the gap columns of every bar; row t depends on bars <= t only.

    A loop over the gaps' age instead of over bars: at most one gap is born per bar, so for a given
    age every gap stands on a different bar and one vector operation handles them all.
    """
    length = len(bars)
    birth = find_births(bars)
    born = np.flatnonzero(birth)
    sign = birth[born].astype(np.float64)
    near, far = _edges(bars, born, sign)
    # price on the side from which a gap is entered, mirrored so that "reached" is always <=
    entering = np.concatenate([bars.low, -bars.high])
    side = np.where(sign > 0, 0, length)
    columns = np.zeros((length, 5))
    best = np.full(length, np.inf)
    owner = np.full(length, -1)
    end_age = np.full(len(born), MAX_AGE + 1)
    gap, touched = np.arange(len(born)), np.zeros(len(born), dtype=np.bool_)
    for age in range(MAX_AGE + 2):  # a gap that ends by age may be touched on that very bar
        gap = gap[: np.searchsorted(born[gap], length - age)]  # others are past the end
        if not len(gap):
            break
        bar = born[gap] + age
        if age:
            price = entering[bar + side[gap]]
            first = (price <= sign[gap] * near[gap]) & ~touched[gap]
            touched[gap[first]] = True
            columns[bar[first], 4] = 1.0
            filled = price <= sign[gap] * far[gap]
            end_age[gap[filled]] = age
            gap, bar = gap[~filled], bar[~filled]
        if age <= MAX_AGE:  # youngest first and strictly closer: ties go to the newest gap
            distance = _nearest_edge(near[gap], far[gap], bars.close[bar])[1]
            closer = distance < best[bar]
            bar = bar[closer]
            best[bar], owner[bar] = distance[closer], gap[closer]

    end = np.minimum(born + end_age, length)
    for column, direction in enumerate((1, -1)):
        own = sign == direction
        started = np.bincount(born[own], minlength=length)
        ended = np.bincount(end[own], minlength=length)[:length]
        columns[:, column] = np.cumsum(started - ended) > 0
    held = np.flatnonzero(owner >= 0)
    owner = owner[held]
    columns[held, 2] = _nearest_edge(near[owner], far[owner], bars.close[held])[0]
    columns[held, 3] = held - born[owner]
    return GapTable(columns, birth)


def _edges(bars: Bars, born: NDArray[np.int64], sign: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the near and the far edge of each gap: the near one is reached first on a return."""
    bullish = sign > 0
    near = np.where(bullish, bars.low[born], bars.high[born])
    far = np.where(bullish, bars.high[born - 2], bars.low[born - 2])
    return near, far


def _nearest_edge(
    near: FloatArray, far: FloatArray, close: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the level of the nearer edge (the near one on ties) and its distance from close."""
    near_distance, far_distance = np.abs(near - close), np.abs(far - close)
    take_near = near_distance <= far_distance
    return np.where(take_near, near, far), np.where(take_near, near_distance, far_distance)


@dataclass(frozen=True, slots=True)
class GapStreamState:
    """What a ``GapStream`` holds, as numbers.

    ``gaps``: birth bar, sign, near and far edge of each; ``touched``: the birth bars of touched
    ones; ``bodies`` and ``high_low``: of the last bars.
    """

    bar: int
    gaps: tuple[tuple[int, int, float, float], ...]
    touched: tuple[int, ...]
    bodies: tuple[float, ...]
    high_low: tuple[tuple[float, float], ...]
    birth: int


class GapStream:
    """Gap state for bars that arrive one at a time; at most 60 gaps are held."""

    def __init__(self) -> None:
        self._t = -1
        self._gaps: list[tuple[int, int, float, float]] = []  # birth bar, sign, near, far
        self._touched: set[int] = set()
        self._bodies: list[float] = []
        self._high_low: list[tuple[float, float]] = []
        self.birth = 0

    def state(self) -> GapStreamState:
        """Return what ``resumed`` needs to go on from here."""
        return GapStreamState(
            self._t,
            tuple(self._gaps),
            tuple(sorted(self._touched)),
            tuple(self._bodies),
            tuple(self._high_low),
            self.birth,
        )

    @classmethod
    def resumed(cls, state: GapStreamState) -> GapStream:
        """Return a stream that goes on from ``state``."""
        stream = cls()
        stream._t, stream.birth = state.bar, state.birth
        stream._gaps, stream._touched = list(state.gaps), set(state.touched)
        stream._bodies, stream._high_low = list(state.bodies), list(state.high_low)
        return stream

    def push(self, open_t: float, high_t: float, low_t: float, close_t: float) -> GapRow:
        """Update the existing gaps, then add a new one; return the bar's five gap columns."""
        self._t += 1
        mitigation = self._update(high_t, low_t)
        self.birth = self._new_sign(high_t, low_t)
        if self.birth:
            before = self._high_low[0]
            near, far = (low_t, before[0]) if self.birth > 0 else (high_t, before[1])
            self._gaps.append((self._t, self.birth, near, far))
        self._bodies.append(abs(close_t - open_t))
        del self._bodies[:-BODY_PERIOD]
        self._high_low.append((high_t, low_t))
        del self._high_low[:-2]
        return self._row(close_t, mitigation)

    def _update(self, high_t: float, low_t: float) -> float:
        mitigation, kept = 0.0, []
        for gap in self._gaps:
            born, sign, near, far = gap
            price = low_t if sign > 0 else -high_t
            if price <= sign * near and born not in self._touched:
                self._touched.add(born)
                mitigation = 1.0
            if price <= sign * far or self._t - born > MAX_AGE:
                self._touched.discard(born)
                continue
            kept.append(gap)
        self._gaps = kept
        return mitigation

    def _new_sign(self, high_t: float, low_t: float) -> int:
        if len(self._high_low) < 2:
            return 0
        total = 0.0
        for body in self._bodies:
            total += body
        if not self._bodies[-1] > BODY_FACTOR * (total / len(self._bodies)):
            return 0
        high_tm2, low_tm2 = self._high_low[0]
        return 1 if low_t > high_tm2 else -1 if high_t < low_tm2 else 0

    def _row(self, close_t: float, mitigation: float) -> GapRow:
        best, level, age, bullish, bearish = np.inf, 0.0, 0.0, 0.0, 0.0
        for born, sign, near, far in self._gaps:
            if sign > 0:
                bullish = 1.0
            else:
                bearish = 1.0
            near_distance, far_distance = abs(near - close_t), abs(far - close_t)
            take_near = near_distance <= far_distance
            distance = near_distance if take_near else far_distance
            if distance <= best:
                best, level, age = distance, near if take_near else far, float(self._t - born)
        return bullish, bearish, level, age, mitigation
