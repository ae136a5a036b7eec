"""Compare sessions with a profile: the one code path of command, service, adaptation and tests."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np

from rllib_tactical.domain.types import FloatArray, IntArray
from rllib_tactical.monitoring.measures import measures_of
from rllib_tactical.monitoring.observations import Observations
from rllib_tactical.monitoring.profile import DriftProfile
from rllib_tactical.monitoring.sums import GROUPS, sums_of
from rllib_tactical.monitoring.thresholds import window_sums


@dataclass(frozen=True, slots=True)
class Reading:
    """One statistic after the newest session; ``value`` is None where too little is known.

    ``ratio``: value over threshold, an alarm above 1; a statistic below zero counts as 0.
    """

    group: str
    statistic: str
    window: int
    value: float | None
    threshold: float
    ratio: float

    @property
    def alarm(self) -> bool:
        """Whether the statistic is above its threshold."""
        return self.ratio > 1.0

    @property
    def name(self) -> str:
        """Statistic and window, as in ``psi_momentum_5_20``."""
        return f"{self.statistic}_{self.window}"


@dataclass(frozen=True, slots=True)
class DriftReport:
    """What the monitor found: ``readings`` after the newest session, and how it came to that.

    ``session`` (S,) int64 are the sessions looked at, as numbers of days since 1970; ``ratios``
    (S, J) those of each reading after each of them, NaN where a window was not full or too little
    was known.
    """

    bundle_id: str
    symbol: str
    false_alarms: float
    session: IntArray
    readings: tuple[Reading, ...]
    ratios: FloatArray

    @property
    def alarms(self) -> tuple[Reading, ...]:
        """The readings that alarm, the farthest first."""
        return tuple(sorted((r for r in self.readings if r.alarm), key=lambda r: -r.ratio))

    @property
    def first_alarm(self) -> int | None:
        """The session after which there was an alarm for the first time, None for never."""
        above = (np.nan_to_num(self.ratios, nan=0.0) > 1.0).any(axis=1)
        return int(self.session[int(above.argmax())]) if above.any() else None

    @property
    def words(self) -> str:
        """What was found, as a sentence."""
        if not len(self.session):
            return "No session has ended yet: nothing can be said about drift."
        if not self.alarms:
            known = sum(reading.value is not None for reading in self.readings)
            return (
                f"No drift after {len(self.session)} sessions: {known} of {len(self.readings)} "
                "statistics are known, none is above its threshold."
            )
        named = ", ".join(f"{r.name} {r.ratio:.2f}" for r in self.alarms[:5])
        more = len(self.alarms) - 5
        return (
            f"Drift: {len(self.alarms)} of {len(self.readings)} statistics are above their "
            f"thresholds ({named}{f' and {more} more' if more > 0 else ''}; ratios to them)."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, fit for JSON, without the history."""
        return {
            "bundle_id": self.bundle_id,
            "symbol": self.symbol,
            "false_alarms_per_month": self.false_alarms,
            "sessions": len(self.session),
            "first_session": date_of(self.session[0]) if len(self.session) else None,
            "last_session": date_of(self.session[-1]) if len(self.session) else None,
            "first_alarm": None if self.first_alarm is None else date_of(self.first_alarm),
            "drift": bool(self.alarms),
            "words": self.words,
            "readings": [{**asdict(r), "alarm": r.alarm} for r in self.readings],
        }


def assess(profile: DriftProfile, found: Observations, after: int | None = None) -> DriftReport:
    """Return how far sessions are from a profile, after each of them.

    Args:
        profile: of the bundle that decided.
        found: complete sessions: one that goes on would be compared with whole ones.
        after: only sessions after this one are looked at.
    """
    sums = sums_of(found, profile.edges)
    if after is not None:
        sums = {group: each.after(after) for group, each in sums.items()}
    every = np.unique(np.concatenate([sums[group].session for group in GROUPS]))
    readings, ratios = [], []
    for group in GROUPS:
        measures, own = measures_of(group, profile.edges), sums[group]
        for each in profile.thresholds[group]:
            ratio = np.full(len(every), np.nan)
            value: float | None = None
            if len(own.session) >= each.window:
                sliding = window_sums(own.rows, each.window)
                values = measures[each.statistic](sliding, profile.totals[group])
                ended = np.searchsorted(every, own.session[each.window - 1 :])
                ratio[ended] = _ratios(values, each.value)
                value = None if np.isnan(values[-1]) else float(values[-1])
            newest = 0.0 if value is None else float(_ratios(np.array([value]), each.value)[0])
            readings.append(Reading(group, each.statistic, each.window, value, each.value, newest))
            ratios.append(ratio)
    history = np.stack(ratios, axis=1) if ratios else np.empty((len(every), 0))
    return DriftReport(
        profile.bundle_id, profile.symbol, profile.false_alarms, every, tuple(readings), history
    )


def date_of(session: int) -> str:
    """Return the date of a session, as in 2025-03-31."""
    return (date(1970, 1, 1) + timedelta(days=int(session))).isoformat()


def _ratios(values: FloatArray, threshold: float) -> FloatArray:
    """Return values over their threshold, at least 0; above 1 exactly when above the threshold."""
    if threshold <= 0.0:  # of a statistic that is below zero while nothing drifts
        return np.where(np.isnan(values), np.nan, np.where(values > threshold, 2.0, 0.0))
    return np.maximum(values, 0.0) / threshold
