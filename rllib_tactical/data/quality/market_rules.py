"""The warnings of a check: what looks wrong about a market, judged session by session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from rllib_tactical.data.calendar.schedules import ALWAYS_OPEN
from rllib_tactical.data.calendar.sessions import Placement, place_bars, scheduled_slots
from rllib_tactical.data.interpret.zones import Zone
from rllib_tactical.data.io.parse import MICROS
from rllib_tactical.data.quality.findings import Collector, iso_time
from rllib_tactical.data.quality.price_rules import is_off_tick
from rllib_tactical.domain.types import Bars, BoolArray, FloatArray, Instrument, IntArray
from rllib_tactical.errors import DataError

ZERO_VOLUME_BARS: Final = 3
FROZEN_BARS: Final = 12
OUTLIER_TIMES_MEDIAN: Final = 25.0
ROLL_TIMES_MEDIAN_GAP: Final = 8.0
SHORT_SESSION_SHARE: Final = 0.9
# Less than so many bars of the file lie in sessions, and at least so many would at another hour.
FITTING_NOW: Final = 0.9
FITTING_ELSEWHERE: Final = 0.95
ZONE_BARS: Final = 5_000
# A median of fewer bars says too little about a session.
TYPICAL_BARS: Final = 12


def check_market(
    bars: Bars,
    rows: IntArray,
    collector: Collector,
    bar_seconds: int,
    instrument: Instrument | None,
) -> None:
    """Add the warnings about ``bars`` to ``collector``.

    ``bars`` have strictly rising times and positive prices; ``rows`` (int64, shape (T,)) are their
    rows in the file. One finding is made per run, gap or session, at its first row (for a gap, the
    first row after it).
    """
    _check_runs(bars, rows, collector)
    calendar, zone = ALWAYS_OPEN, "UTC"
    if instrument is not None:
        calendar, zone = instrument.calendar, instrument.timezone
    try:
        placed = place_bars(bars.timestamp_s, calendar, zone, bar_seconds)
    except DataError:
        # Before the calendar's first year: the days can still be compared with one another.
        placed = place_bars(bars.timestamp_s, ALWAYS_OPEN, "UTC", bar_seconds)
    if calendar != ALWAYS_OPEN:
        collector.add_rows(
            "outside_session",
            _run_starts(rows, ~placed.is_open),
            f"bars here lie outside of every session of calendar {calendar}",
        )
        _check_zone(bars, rows, placed, collector, (calendar, zone), bar_seconds)
    _check_coverage(bars, rows, placed, collector, bar_seconds)
    _check_returns(bars, rows, placed, collector)


def suspect_bars(bars: Bars, instrument: Instrument, bar_seconds: int) -> dict[str, BoolArray]:
    """Return which bars (T,) break a rule that says that a feed may be wrong, by rule.

    ``zero_volume_run`` and ``frozen_prices`` mark every bar of a run, ``outlier_return`` and
    ``roll_jump`` the bar that jumps, ``off_tick`` each bar with such a price. A market of which no
    bar has volume does not report it: that is no run. ``bars``, at least one, are as in
    ``check_market``.

    Raises:
        ConfigError: unknown calendar or time zone.
        DataError: the calendar does not cover the times.
    """
    placed = place_bars(bars.timestamp_s, instrument.calendar, instrument.timezone, bar_seconds)
    returns = _compare_returns(bars, placed)
    prices = (bars.open, bars.high, bars.low, bars.close)
    silent = _silent_runs(bars) if bars.volume.any() else _runs(np.zeros(0, dtype=np.bool_), 1)
    return {
        "zero_volume_run": _covered(len(bars), *silent),
        "frozen_prices": _covered(len(bars), *_frozen_runs(bars)),
        "outlier_return": _marked(len(bars), returns.outliers),
        "roll_jump": _marked(len(bars), returns.first[returns.jumps]),
        "off_tick": is_off_tick(prices, instrument.tick_size),
    }


def _covered(count: int, start: IntArray, length: IntArray) -> BoolArray:
    """Return a mask (T,) of the runs that start at ``start`` and are ``length`` long."""
    edges = np.zeros(count + 1, dtype=np.int64)
    np.add.at(edges, start, 1)
    np.add.at(edges, start + length, -1)
    return np.cumsum(edges)[:-1] > 0


def _marked(count: int, bar: IntArray) -> BoolArray:
    mask = np.zeros(count, dtype=np.bool_)
    mask[bar] = True
    return mask


def _check_zone(
    bars: Bars,
    rows: IntArray,
    placed: Placement,
    collector: Collector,
    market: tuple[str, str],
    bar_seconds: int,
) -> None:
    """Add an error where bars fit their sessions only by another clock.

    That is the exchange's, or one some whole hours earlier or later. ``market`` is the calendar and
    the time zone.

    Bars of extended hours fit at no hour: there are more of them than a session has room for.
    """
    now = float(placed.inside.mean())
    if now > FITTING_NOW or len(bars) < TYPICAL_BARS:
        return
    time_s = bars.timestamp_s[:: max(1, len(bars) // ZONE_BARS)]
    calendar, zone = market
    local, unknown = Zone.parse(zone).to_utc(time_s * MICROS)
    clocks = {f"by the clock of {zone}": np.sort(local[~unknown] // MICROS)}
    for hours in (hours for hours in range(-14, 15) if hours):
        side = "later" if hours > 0 else "earlier"
        clocks[f"{abs(hours)} h {side}"] = time_s + hours * 3600
    shares = {
        name: float(place_bars(moved, calendar, zone, bar_seconds).inside.mean())
        for name, moved in clocks.items()
        if moved.size
    }
    best = max(shares, key=lambda name: shares[name])
    if shares[best] >= FITTING_ELSEWHERE:
        collector.add_rows(
            "wrong_zone",
            rows[:1],
            f"{now:.0%} of the bars lie in sessions of calendar {calendar}, {shares[best]:.0%} "
            f"would {best}: the times are of another zone; --session regular drops bars outside "
            "of sessions instead",
        )


def _check_runs(bars: Bars, rows: IntArray, collector: Collector) -> None:
    silent, length = _silent_runs(bars)
    collector.add_rows(
        "zero_volume_run", rows[silent], lambda i: f"{length[i]} bars in a row without volume"
    )
    frozen, alike = _frozen_runs(bars)
    collector.add_rows(
        "frozen_prices", rows[frozen], lambda i: f"{alike[i]} bars in a row are identical"
    )


def _silent_runs(bars: Bars) -> tuple[IntArray, IntArray]:
    """Return first bar and length of each run of bars without volume."""
    return _runs(bars.volume == 0, ZERO_VOLUME_BARS)


def _frozen_runs(bars: Bars) -> tuple[IntArray, IntArray]:
    """Return first bar and length of each run of bars with the same prices."""
    same = np.zeros(len(bars), dtype=np.bool_)
    same[1:] = (
        (bars.open[1:] == bars.open[:-1])
        & (bars.high[1:] == bars.high[:-1])
        & (bars.low[1:] == bars.low[:-1])
        & (bars.close[1:] == bars.close[:-1])
    )
    repeats, more = _runs(same, FROZEN_BARS - 1)
    return repeats - 1, more + 1


def _check_coverage(
    bars: Bars, rows: IntArray, placed: Placement, collector: Collector, bar_seconds: int
) -> None:
    time_s = bars.timestamp_s
    # Nothing can be missing between bars that follow each other, and these are nearly all.
    gaps = np.flatnonzero(np.diff(time_s) != bar_seconds)
    missing = scheduled_slots(placed.schedule, time_s[gaps + 1], bar_seconds)
    missing -= scheduled_slots(placed.schedule, time_s[gaps] + bar_seconds, bar_seconds)
    gaps, missing = gaps[missing > 0], missing[missing > 0]
    collector.add_rows(
        "missing_bars",
        rows[gaps + 1],
        lambda i: (
            f"{missing[i]} scheduled bar(s) missing after {iso_time(int(time_s[gaps[i]]) * MICROS)}"
        ),
    )
    # The file may start and end within a session: what lies beyond its ends is not missing.
    inside = np.flatnonzero(placed.is_open)
    if inside.size == 0:
        return
    # Bars of a session follow each other, so that runs of one index are few.
    index = placed.index[inside]
    run = np.flatnonzero(np.diff(index, prepend=index[0] - 1))
    sessions, run_of, session_of = np.unique(index[run], return_index=True, return_inverse=True)
    found = np.bincount(session_of, weights=np.diff(run, append=index.size)).astype(np.int64)
    first = run[run_of]
    opens = np.maximum(placed.schedule.open_s[sessions], time_s[0])
    closes = np.minimum(placed.schedule.close_s[sessions], time_s[-1] + bar_seconds)
    expected = scheduled_slots(placed.schedule, closes, bar_seconds) - scheduled_slots(
        placed.schedule, opens, bar_seconds
    )
    short = np.flatnonzero(found < SHORT_SESSION_SHARE * expected)
    collector.add_rows(
        "short_session",
        rows[inside[first[short]]],
        lambda i: (
            f"session {np.datetime64(int(placed.schedule.day[sessions[short[i]]]), 'D')} has "
            f"{found[short[i]]} of {expected[short[i]]} bars"
        ),
    )


def _check_returns(bars: Bars, rows: IntArray, placed: Placement, collector: Collector) -> None:
    found = _compare_returns(bars, placed)
    moves, outliers = found.moves, found.outliers
    collector.add_rows(
        "outlier_return",
        rows[outliers],
        lambda i: (
            f"return {moves[outliers[i]]:+.4%} is more than {OUTLIER_TIMES_MEDIAN:g} times the "
            f"median of the previous session, {found.typical[found.session[outliers[i]] - 1]:.4%}"
        ),
    )
    gaps, threshold, jumps = found.gaps, found.threshold, found.jumps
    collector.add_rows(
        "roll_jump",
        rows[found.first[jumps]],
        lambda i: (
            f"jump of {gaps[jumps[i]]:+.4%} between sessions, limit {threshold[jumps[i]]:.4%}: an "
            "unadjusted contract roll or split?"
        ),
    )


@dataclass(frozen=True, slots=True)
class _Returns:
    """Returns of T bars in S sessions, and those that are unusual.

    ``moves`` (T,), ``session`` (T,) counted from 0, ``typical`` (S,) medians, ``outliers`` bars;
    ``first`` (S - 1,) bar of each session but the first, ``gaps`` and ``threshold`` (S - 1,) its
    jump from the close before and the limit, ``jumps`` indices of the gaps beyond it.
    """

    moves: FloatArray
    session: IntArray
    typical: FloatArray
    outliers: IntArray
    first: IntArray
    gaps: FloatArray
    threshold: FloatArray
    jumps: IntArray


def _compare_returns(bars: Bars, placed: Placement) -> _Returns:
    """Compare each bar's return with the typical one of the session before.

    Within a session a return runs from close to close; the first bar's runs from its open, and
    the jump from the last close to that open is a gap, which has its own rule.
    """
    starts = np.concatenate(([True], placed.day[1:] != placed.day[:-1]))
    base = np.concatenate((bars.open[:1], bars.close[:-1]))
    moves = bars.close / np.where(starts, bars.open, base) - 1.0
    session = np.cumsum(starts) - 1
    # Bars that did not move would make a quiet market's threshold zero.
    typical = _session_medians(np.abs(moves), session)
    typical[np.bincount(session) < TYPICAL_BARS] = np.nan
    limit = np.concatenate(([np.inf], OUTLIER_TIMES_MEDIAN * typical[:-1]))
    limit[~(limit > 0)] = np.inf
    outliers = np.flatnonzero(np.abs(moves) > limit[session])
    first = np.flatnonzero(starts)[1:]
    gaps = bars.open[first] / bars.close[first - 1] - 1.0
    # A gap is judged by the market's usual gaps, which need a few sessions to be known.
    usual = float(np.median(np.abs(gaps))) if gaps.size >= 5 else 0.0
    threshold = np.maximum(ROLL_TIMES_MEDIAN_GAP * usual, limit[session[first]])
    jumps = np.flatnonzero(np.abs(gaps) > threshold)
    return _Returns(moves, session, typical, outliers, first, gaps, threshold, jumps)


def _session_medians(values: FloatArray, session: IntArray) -> FloatArray:
    """Return each session's median of ``values`` > 0; NaN where there is none.

    ``session`` (T,) counts up from 0 and never falls.
    """
    moved = values > 0
    found = values[moved]
    count = np.bincount(session[moved], minlength=int(session[-1]) + 1)
    start = np.cumsum(count) - count
    medians = np.full(count.size, np.nan)
    # Sessions of one length make a table, whose rows need not be sorted to the end.
    for length in np.unique(count[count > 0]).tolist():
        chosen = np.flatnonzero(count == length)
        table = found[start[chosen, None] + np.arange(length)]
        low, high = (length - 1) // 2, length // 2
        table.partition((low, high), axis=1)
        medians[chosen] = 0.5 * (table[:, low] + table[:, high])
    return medians


def _runs(mask: BoolArray, at_least: int) -> tuple[IntArray, IntArray]:
    """Return where runs of true values start and how long they are, if ``at_least`` long."""
    edges = np.diff(np.concatenate(([False], mask, [False])).astype(np.int8))
    start, end = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    long = end - start >= at_least
    return start[long], (end - start)[long]


def _run_starts(rows: IntArray, mask: BoolArray) -> IntArray:
    return rows[_runs(mask, 1)[0]]
