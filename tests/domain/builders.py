"""Small markets for tests: hand-made bars, random walks, mirrored bars, short histories."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from rllib_tactical.domain.decision.missing_bars import bars_since_gap
from rllib_tactical.domain.features.synergy import SynergyTrack, detect_synergies
from rllib_tactical.domain.features.table import FeatureTable, InputViews, compute_features
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.domain.types import NUM_FEATURES, WINDOW, Bars, Instrument, Sessions

BAR_SECONDS = 300

FREE = Instrument(
    symbol="FREE", tick_size=0.25, point_value=10.0, base_quantity=1.0, half_spread_ticks=0.0
)
FUTURE = Instrument(
    symbol="FUTURE",
    tick_size=0.25,
    point_value=50.0,
    base_quantity=1.0,
    commission_per_lot=2.25,
    half_spread_ticks=0.5,
    slippage_ticks=0.25,
    gap_proximity_points=5.0,
)
SHARE = Instrument(
    symbol="SHARE",
    tick_size=0.01,
    base_quantity=140.0,
    commission_per_lot=0.005,
    half_spread_ticks=0.5,
    slippage_ticks=1.0,
    slippage_atr_share=0.02,
    pnl_scale=50.0,
)
COIN = Instrument(
    symbol="COIN",
    tick_size=0.1,
    lot_step=0.001,
    base_quantity=0.529,
    commission_per_lot=41.8,
    half_spread_ticks=0.5,
    slippage_ticks=1.0,
    slippage_atr_share=0.01,
)


def bars_of(rows: Sequence[tuple[float, ...]]) -> Bars:
    """Return bars from (open, high, low, close) or (open, high, low, close, volume) rows."""
    table = np.array([row if len(row) == 5 else (*row, 1.0) for row in rows], dtype=np.float64)
    table = table.reshape(-1, 5)
    return Bars(np.arange(len(table)) * BAR_SECONDS, *(table[:, i].copy() for i in range(5)))


def sessions_of_lengths(*lengths: int) -> Sessions:
    """Return consecutive sessions with the given numbers of bars."""
    first = np.concatenate([np.arange(n) == 0 for n in lengths])
    last = np.concatenate([np.arange(n) == n - 1 for n in lengths])
    elapsed = np.concatenate([np.arange(1, n + 1) / n for n in lengths])
    return Sessions.without_gaps(np.cumsum(first) - 1, first, last, elapsed)


def gappy_sessions(rng: np.random.Generator, length: int, longest: int = 40) -> Sessions:
    """Return random sessions with breaks, bars out of hours before and after, and lost last bars.

    A lost last bar: the calendar has another one, so that the market is open at the end.
    """
    whole = random_sessions(rng, length, longest)
    is_open = rng.random(length) < 0.8
    session = whole.session_id
    is_first, is_last = np.zeros((2, length), dtype=np.bool_)
    for number in range(int(session[-1]) + 1):
        bars = np.flatnonzero(is_open & (session == number))
        is_first[bars[:1]] = is_last[bars[-1:]] = True
    ends = np.append(is_open[1:], False)
    tradable = is_open & ends & ~np.append(is_first[1:], False)
    tradable |= is_last & (rng.random(length) < 0.5)
    since_gap = bars_since_gap((rng.random(length) < 0.05).astype(np.int64))
    return Sessions(session, is_first, is_last, whole.elapsed, is_open, tradable, since_gap)


def random_sessions(rng: np.random.Generator, length: int, longest: int = 40) -> Sessions:
    """Return sessions of random lengths (some of a single bar) that fill ``length`` bars."""
    lengths: list[int] = []
    while sum(lengths) < length:
        lengths.append(min(int(rng.integers(1, longest + 1)), length - sum(lengths)))
    return sessions_of_lengths(*lengths)


def random_bars(
    rng: np.random.Generator,
    length: int,
    tick: float = 0.25,
    start: float = 4096.0,
    jump: float = 40.0,
    volatility: float = 4.0,
) -> Bars:
    """Return a random walk on the tick grid (sizes in ticks): quiet spells, jumps, ties, flat bars.

    The grid is coarse on purpose, so that equal prices, touches of an edge to the tick and bodies
    of equal size are frequent.
    """
    quiet = np.where(rng.random(length) < 0.15, 4.0, 1.0)
    gap = np.rint(rng.normal(0.0, 0.5 * volatility, length))
    gap += np.where(rng.random(length) < 0.05, np.rint(rng.normal(0.0, jump, length)), 0.0)
    body = np.rint(rng.normal(0.0, volatility, length) * quiet)
    wicks = np.rint(np.abs(rng.normal(0.0, 0.7 * volatility, (2, length))))
    flat = rng.random(length) < 0.05
    gap[flat], body[flat], wicks[:, flat] = 0.0, 0.0, 0.0
    path = np.cumsum(gap + body)
    path += round(start / tick) - min(0.0, float(path.min()) + 0.5 * round(start / tick))
    close, open_ = path, path - body
    high = np.maximum(open_, close) + wicks[0]
    low = np.maximum(np.minimum(open_, close) - wicks[1], 1.0)
    volume = np.where(rng.random(length) < 0.2, 0.0, np.rint(rng.lognormal(3.0, 1.0, length)))
    columns = [np.round(np.maximum(prices, 1.0) * tick, 10) for prices in (open_, high, low, close)]
    return Bars(np.arange(length) * BAR_SECONDS, *columns, *[volume])


def mirror_bars(bars: Bars, twice_centre: float) -> Bars:
    """Return bars with every price p reflected to ``twice_centre`` - p."""
    return Bars(
        bars.timestamp_s,
        twice_centre - bars.open,
        twice_centre - bars.low,
        twice_centre - bars.high,
        twice_centre - bars.close,
        bars.volume,
    )


def join(*parts: Bars) -> Bars:
    """Return bars one after the other, on one time grid."""
    columns = ("open", "high", "low", "close", "volume")
    arrays = [np.concatenate([getattr(part, name) for part in parts]) for name in columns]
    return Bars(np.arange(len(arrays[0])) * BAR_SECONDS, *arrays)


_MOVES = st.tuples(
    st.sampled_from([0, 0, 0, 1, -1, 2, -2, 9, -9]),  # open against the previous close
    st.sampled_from([0, 0, 1, -1, 1, -1, 2, -2, 3, -3, 10, -10]),  # body
    st.sampled_from([0, 0, 1, 2, 5]),  # upper wick
    st.sampled_from([0, 0, 1, 2, 5]),  # lower wick
    st.sampled_from([0.0, 0.0, 1.0, 1.0, 7.0, 1e6]),  # volume
)


@st.composite
def tick_bars(draw: st.DrawFn, min_size: int = 0, max_size: int = 90) -> Bars:
    """Draw bars of a few ticks each, on a grid of 1/4: ties, zero volume and flat prices abound."""
    moves = draw(st.lists(_MOVES, min_size=min_size, max_size=max_size))
    close = 4000.0
    rows: list[tuple[float, ...]] = []
    for gap, body, up, down, volume in moves:
        open_ = close + gap
        close = open_ + body
        prices = (open_, max(open_, close) + up, min(open_, close) - down, close)
        rows.append((*(price * 0.25 for price in prices), volume))
    return bars_of(rows)


seeds = st.integers(0, 2**32 - 1)


@st.composite
def walks(draw: st.DrawFn, min_size: int = 100, max_size: int = 400) -> Bars:
    """Draw a long random walk by its seed."""
    rng = np.random.default_rng(draw(seeds))
    volatility = draw(st.sampled_from([1.0, 4.0, 12.0]))
    return random_bars(rng, draw(st.integers(min_size, max_size)), volatility=volatility)


def history_of(
    bars: Bars,
    sessions: Sessions | None = None,
    instrument: Instrument = FREE,
    synergy: SynergyTrack | None = None,
) -> MarketHistory:
    """Return a history of any length >= 60; unlike ``build_history`` it asks for no warm-up."""
    features = compute_features(bars)
    if sessions is None:
        sessions = sessions_of_lengths(len(bars))
    if synergy is None:
        synergy = detect_synergies(features)
    return MarketHistory(bars, features, InputViews(features), sessions, synergy, instrument)


def hand_history(
    rows: Sequence[tuple[float, ...]],
    atr: float = 1.0,
    sessions: Sessions | None = None,
    instrument: Instrument = FREE,
    raw: dict[tuple[int, int], float] | None = None,
    synergy: SynergyTrack | None = None,
) -> MarketHistory:
    """Return a history of a few hand-made bars with a constant ATR and raw features as given.

    ``raw`` sets single features by (bar, column); all others are 0.
    """
    bars = bars_of(rows)
    matrix = np.zeros((len(bars), NUM_FEATURES))
    for (t, column), value in (raw or {}).items():
        matrix[t, column] = value
    birth = np.zeros(len(bars), dtype=np.int8)
    features = FeatureTable(matrix, np.full(len(bars), atr), bars.close, birth)
    padded = FeatureTable(
        np.zeros((WINDOW, NUM_FEATURES)), np.ones(WINDOW), np.ones(WINDOW), birth[:0]
    )
    return MarketHistory(
        bars,
        features,
        InputViews(padded),
        sessions or sessions_of_lengths(len(bars)),
        synergy or SynergyTrack.none(len(bars)),
        instrument,
    )
