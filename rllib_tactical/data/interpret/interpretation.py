"""What a file of bars was taken for: the statement that commands print and files keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np

from rllib_tactical.data.calendar.bar_length import bar_label
from rllib_tactical.data.calendar.schedules import ALWAYS_OPEN
from rllib_tactical.data.calendar.sessions import place_bars
from rllib_tactical.data.interpret.options import ReadOptions
from rllib_tactical.data.interpret.series import ASSUMED, Series
from rllib_tactical.data.quality.findings import CheckReport
from rllib_tactical.data.sizing import SIZE_FROM
from rllib_tactical.domain.types import Bars, Instrument
from rllib_tactical.errors import DataError

INTERPRETATION: Final = "interpretation"
"""The key under which files hold what a file of bars was taken for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpretation:
    """What was given, recognized and assumed about the files of one instrument.

    ``options`` is what the user said. ``zone`` and ``stamp`` are followed by where they are from:
    ``option``, ``file``, ``format`` or ``assumed``. ``first`` and ``last`` are the times at which
    the first and last bar open, in exchange time with its offset from UTC. ``warnings`` counts the
    findings of ``tactical data check`` by rule.
    """

    source: str
    files: int
    options: dict[str, Any]
    columns: dict[str, str]
    zone: str
    zone_from: str
    unit: str | None
    stamp: str
    stamp_from: str
    symbol: str | None
    price_scale: float
    step_seconds: int | None
    bar_seconds: int
    bars: int
    first: str
    last: str
    bars_per_session: float
    notes: tuple[str, ...]
    warnings: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return the statement as JSON types."""
        return {name: _plain(getattr(self, name)) for name in self.__slots__}

    def line(self, name: str) -> str:
        """Return the statement about the file called ``name`` in one line."""
        return interpretation_text(self.to_dict(), name)


def interpretation_of(
    series: Series,
    options: ReadOptions,
    bars: Bars,
    report: CheckReport,
    instrument: Instrument | None,
    bar_seconds: int,
    notes: tuple[str, ...] = (),
) -> Interpretation:
    """Return the statement about a series that was read and checked.

    Args:
        series: what was read.
        options: what the user said.
        bars: the bars, at least one.
        report: what the check found, warnings included.
        instrument: supplies the exchange's time zone and sessions, if it is known.
        bar_seconds: the length of a bar.
        notes: what else there is to say.
    """
    layout = series.layouts[0]
    zone = "UTC" if instrument is None else instrument.timezone
    return Interpretation(
        source=layout.format or "own columns",
        files=len(series.files),
        options=options.given(),
        columns=layout.columns,
        zone=series.zone[0],
        zone_from=series.zone[1],
        unit=series.columns.unit,
        stamp=series.stamp[0],
        stamp_from=series.stamp[1],
        symbol=next(iter(series.columns.symbols), None),
        price_scale=layout.scale,
        step_seconds=series.step_s,
        bar_seconds=bar_seconds,
        bars=len(bars),
        first=_local(int(bars.timestamp_s[0]), zone),
        last=_local(int(bars.timestamp_s[-1]), zone),
        bars_per_session=_per_session(bars, instrument, bar_seconds),
        notes=(*_notes(series), *_other_symbol(report), *notes),
        warnings=report.warning_counts,
    )


def interpretation_text(found: Mapping[str, Any], name: str) -> str:
    """Return a statement, as ``to_dict`` gives it, in one line."""
    renamed = [
        f"{role}={column}"
        for role, column in found["columns"].items()
        if role != column.strip().lower()
    ]
    what = [f"{found['source']}{' (' + ', '.join(renamed) + ')' if renamed else ''}"]
    if found["files"] > 1:
        what.append(f"{found['files']} files")
    if found["symbol"] is not None:
        what.append(f"symbol {found['symbol']}")
    unit = "" if found["unit"] is None else f" in {found['unit']}"
    what.append(f"times{unit} {found['zone']}{_origin(found['zone_from'])}")
    what.append(f"stamped at the {found['stamp']}{_origin(found['stamp_from'])}")
    if found["price_scale"] != 1.0:
        what.append(f"prices x {found['price_scale']:g}")
    what += found["notes"]
    step, length = found["step_seconds"], found["bar_seconds"]
    made = "" if step in (None, length) else f" made of {bar_label(step)} rows"
    what.append(
        f"{found['bars']:,} {bar_label(length)} bars{made} {found['first']} to {found['last']}, "
        f"{found['bars_per_session']:g} a session"
    )
    warnings = ", ".join(f"{rule} {count:,}" for rule, count in found["warnings"].items())
    what.append(f"warnings: {warnings}" if warnings else "no warnings")
    return f"{name} read as {'; '.join(what)}"


def interpretation_of_data(data: Mapping[str, Any]) -> str:
    """Return the statement in a description of data, which may lack it, in one line."""
    if INTERPRETATION not in data:
        return f"{data['name']}: not recorded how it was read"
    return interpretation_text(data[INTERPRETATION], data["name"])


def warning_notes(data: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a report must say about the warnings in a description of data."""
    warnings: dict[str, int] = data.get(INTERPRETATION, {}).get("warnings", {})
    if not warnings:
        return ()
    found = ", ".join(f"{rule} {count:,}" for rule, count in warnings.items())
    return (f"{data['name']}: the check of the data warns: {found}.",)


def comparable_data(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must be equal in two descriptions of data, of which one may be an older one.

    The origin of the size follows from the data and the splits, and all that an interpretation says
    follows from the files and the user's options: descriptions made before these were recorded lack
    them.
    """
    same = {key: value for key, value in data.items() if key not in (SIZE_FROM, INTERPRETATION)}
    return same | {"options": read_options_of(data)}


def read_options_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the user said about the files, from a description of data of any age."""
    options: dict[str, Any] = data.get(INTERPRETATION, {}).get("options", {})
    return options


def _origin(origin: str) -> str:
    return f" ({origin})" if ASSUMED in origin else ""


def _notes(series: Series) -> tuple[str, ...]:
    notes = []
    if series.newest_first:
        notes.append("newest first")
    if series.layouts[0].zero_volume:
        notes.append("no volume, read as 0")
    if series.repeated:
        notes.append(f"{series.repeated:,} bars in two files, equal")
    if series.dropped:
        notes.append(f"{series.dropped:,} bars outside of regular sessions dropped")
    return tuple(notes)


def _other_symbol(report: CheckReport) -> tuple[str, ...]:
    return tuple(each.message for each in report.findings if each.rule == "other_symbol")


def _local(time_s: int, zone: str) -> str:
    moment = datetime.fromtimestamp(time_s, UTC).astimezone(ZoneInfo(zone))
    return moment.isoformat(sep=" ", timespec="minutes")


def _per_session(bars: Bars, instrument: Instrument | None, bar_seconds: int) -> float:
    """Return the median number of bars a session."""
    calendar, zone = ALWAYS_OPEN, "UTC"
    if instrument is not None:
        calendar, zone = instrument.calendar, instrument.timezone
    try:
        days = place_bars(bars.timestamp_s, calendar, zone, bar_seconds).day
    except DataError:
        days = bars.timestamp_s // 86_400
    first = np.flatnonzero(days[1:] != days[:-1]) + 1  # days never fall
    return float(np.median(np.diff(first, prepend=0, append=days.size)))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
