"""Time zones of times that name none."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pandas as pd

from rllib_tactical.domain.types import BoolArray, IntArray
from rllib_tactical.errors import UsageError

_HOUR: int = 3_600_000_000
# Years 2 and 9998: what Python's calendar covers, less a day at both ends.
_EARLIEST: int = -62_104_060_800_000_000
_LATEST: int = 253_339_228_800_000_000


@dataclass(frozen=True, slots=True)
class Zone:
    """A zone's clock, ``shift`` microseconds ahead of it.

    A shift describes servers whose day ends with New York's: ``America/New_York+7`` is seven hours
    ahead of New York, in summer and winter.
    """

    name: str
    info: ZoneInfo
    shift: int = 0

    @classmethod
    def parse(cls, text: str) -> Zone:
        """Return the zone called ``Europe/Berlin``, ``UTC``, ``+02:00`` or ``Europe/Berlin+1``.

        Raises:
            UsageError: there is no such zone.
        """
        match = re.fullmatch(r"(.*?)([+-]\d{1,2})(?::?([0-5]\d))?", text)
        for name, shift in ((text, 0), *([] if match is None else [_shifted(match)])):
            try:
                return cls(text, ZoneInfo(name), shift)
            except (ZoneInfoNotFoundError, ValueError, OSError):
                continue
        raise UsageError(
            f"--tz: found {text!r}, expected an IANA name such as America/New_York, an offset such "
            "as +02:00, or both: America/New_York+7"
        )

    def to_utc(self, micros: IntArray) -> tuple[IntArray, BoolArray]:
        """Return UTC microseconds of this clock's times (N,), and which of them are unknown.

        Unknown are times that clocks skip in spring, and those that come twice in autumn unless
        the rows show both: there times fall once, and what comes before is summer time.
        """
        if self.info.key == "UTC":
            return micros - self.shift, np.zeros(micros.size, dtype=np.bool_)
        local = micros - self.shift
        # Zones have no rules for times that no clock shows; the check judges those as they are.
        shown = (local > _EARLIEST) & (local < _LATEST)
        if not shown.all():
            utc, unknown = local.copy(), np.zeros(local.size, dtype=np.bool_)
            utc[shown], unknown[shown] = self.to_utc(micros[shown])
            return utc, unknown
        utc, unknown = self._localized(local, None)
        if unknown.any():
            at = np.flatnonzero(unknown)
            summer, after = _before_the_fall(local, at)
            found, skipped = self._localized(local[at], summer)
            settled = ~skipped & after
            utc[at[settled]] = found[settled]
            unknown[at[settled]] = False
        return np.where(unknown, 0, utc), unknown

    def _localized(self, local: IntArray, summer: BoolArray | None) -> tuple[IntArray, BoolArray]:
        index = pd.DatetimeIndex(local.astype("datetime64[us]"))
        placed = index.tz_localize(
            self.info, ambiguous="NaT" if summer is None else summer, nonexistent="NaT"
        )
        utc = cast(Any, placed.tz_convert(None).to_numpy()).astype("datetime64[us]")
        unknown = np.asarray(placed.isna(), dtype=np.bool_)
        return np.where(unknown, 0, utc.astype(np.int64)), unknown


def _shifted(match: re.Match[str]) -> tuple[str, int]:
    hours = int(match[2])
    minutes = int(match[3] or 0) * (-1 if match[2].startswith("-") else 1)
    return match[1] or "UTC", hours * _HOUR + minutes * (_HOUR // 60)


def _before_the_fall(local: IntArray, at: IntArray) -> tuple[BoolArray, BoolArray]:
    """Return which of the rows ``at`` come before the times fall, and which runs of rows fall."""
    run = np.cumsum(np.concatenate(([0], np.diff(at) != 1)).astype(np.int64))
    falls = np.concatenate(([False], (np.diff(local[at]) <= 0) & (np.diff(at) == 1)))
    passed = np.cumsum(falls)
    first = np.concatenate(([True], np.diff(run) != 0))
    begun = passed[first][run]
    fallen = passed - begun
    total = np.zeros(int(run[-1]) + 1, dtype=np.int64)
    np.maximum.at(total, run, fallen)
    return fallen == 0, total[run] == 1
