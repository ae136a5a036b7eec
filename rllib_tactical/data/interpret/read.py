"""The one way from files to bars: read, interpret, check, refuse what is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rllib_tactical.data.calendar.bar_length import BAR_SECONDS, require_bar_seconds
from rllib_tactical.data.interpret.interpretation import Interpretation, interpretation_of
from rllib_tactical.data.interpret.options import AS_FOUND, ReadOptions
from rllib_tactical.data.interpret.series import read_series
from rllib_tactical.data.quality.findings import CheckReport
from rllib_tactical.data.quality.rules import bars_from_columns, check_columns
from rllib_tactical.domain.types import Bars, Instrument
from rllib_tactical.runtime.progress import Update


@dataclass(frozen=True, slots=True)
class Reading:
    """Bars without errors, what their files were taken for, and what the check found."""

    bars: Bars
    interpretation: Interpretation
    report: CheckReport


def read_interpreted(
    path: Path,
    options: ReadOptions = AS_FOUND,
    instrument: Instrument | None = None,
    *,
    bar_seconds: int = BAR_SECONDS,
    now_s: float | None = None,
    update: Update | None = None,
) -> Reading:
    """Return the bars of a file, a folder or a pattern of files, refusing data with errors.

    Args:
        path: a file; a folder or a pattern such as ``bars/*.csv`` for several files.
        options: what the user says about them.
        instrument: supplies calendar, zone and tick, if it is known.
        bar_seconds: the length of a bar.
        now_s: the present as UTC epoch seconds; the clock's time without it.
        update: is told how far the reading has come.

    Raises:
        UnreadableError: a file cannot be read at all.
        DataError: the data break rules; the message names the first ten findings and the total.
        UsageError: what the file means is known only when more is said (names the option), or bars
            of that length do not tile a day.
        ConfigError: the instrument's calendar or time zone does not exist.
    """
    require_bar_seconds(bar_seconds)
    series = read_series(path, options, instrument, update=update)
    report = check_columns(
        series.columns, bar_seconds=bar_seconds, instrument=instrument, now_s=now_s
    )
    report.raise_errors(str(path))
    bars = bars_from_columns(series.columns)
    stated = interpretation_of(series, options, bars, report, instrument, bar_seconds)
    return Reading(bars, stated, report)
