"""What the files of a folder hold: a row for each, whatever it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from rllib_tactical.data.calendar.bar_length import bar_label
from rllib_tactical.data.instruments import instrument_named
from rllib_tactical.data.interpret.interpretation import interpretation_of
from rllib_tactical.data.interpret.options import AS_FOUND, ReadOptions
from rllib_tactical.data.interpret.series import ASSUMED, Series, read_series
from rllib_tactical.data.quality.findings import CheckReport, iso_time
from rllib_tactical.data.quality.rules import bars_from_columns, check_columns, check_ticks
from rllib_tactical.domain.types import Instrument
from rllib_tactical.errors import TacticalError, UnreadableError
from rllib_tactical.runtime.progress import Update

READABLE: Final = "readable"
ERRORS: Final = "errors"
REFUSED: Final = "refused"
"""States: every command takes the file; its rows break rules; more must be said, or it is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What one file was taken for.

    ``state`` is ``readable``, ``errors`` or ``refused``. ``rows`` are bars or ticks, ``first`` and
    ``last`` their times (exchange time with its offset where an instrument is known, else UTC), and
    ``bar`` their length. ``notes`` are what was assumed and what the check found, or why the file
    was refused.
    """

    file: str
    state: str
    format: str | None = None
    symbol: str | None = None
    instrument: str | None = None
    rows: int | None = None
    first: str | None = None
    last: str | None = None
    bar: str | None = None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the row as JSON types."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return found | {"notes": list(self.notes)}


def list_folder(
    folder: Path,
    options: ReadOptions = AS_FOUND,
    instrument: str | None = None,
    *,
    below: bool = False,
    update: Update | None = None,
) -> list[Listed]:
    """Return what each file of a folder holds, in the order of their names.

    Files and folders whose names begin with a dot are left out.

    Args:
        folder: the folder, or one file.
        options: what the user says about all of its files.
        instrument: the instrument of all files; without it each file's name tells.
        below: whether the folders in it are listed too.
        update: is told how far the reading has come.

    Raises:
        UnreadableError: no such folder, or no permission.
        ConfigError: no such instrument.
    """
    files = [folder] if folder.is_file() else list(_files(folder, below))
    listed = []
    for number, file in enumerate(files):
        if update is not None:
            update(f"reading {file.name}", number / len(files))
        name = file.name if file == folder else str(file.relative_to(folder))
        listed.append(_listed(file, name, options, instrument_named(instrument, file)))
    return listed


def _files(folder: Path, below: bool) -> Iterator[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise UnreadableError(f"{folder}: {error.strerror or error}") from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_file():
            yield entry
        elif below and entry.is_dir() and not entry.is_symlink():
            yield from _files(entry, below)


def _listed(file: Path, name: str, options: ReadOptions, instrument: Instrument | None) -> Listed:
    symbol = None if instrument is None else instrument.symbol
    try:
        return _read(file, name, options, instrument)
    except (TacticalError, OSError) as error:
        reason = str(error).removeprefix(f"{file}: ").removeprefix(f"{file.name}: ")
        return Listed(file=name, state=REFUSED, instrument=symbol, notes=(_line(reason),))


def _read(file: Path, name: str, options: ReadOptions, instrument: Instrument | None) -> Listed:
    series = read_series(file, options, instrument, ticks=True)
    columns, layout = series.columns, series.layouts[0]
    ticks = "price" in columns.numbers
    step_s = series.step_s or 1
    if ticks:
        report = check_ticks(columns)
    else:
        report = check_columns(columns, bar_seconds=step_s, instrument=instrument)
    if "missing_column" in report.counts or "empty_file" in report.counts:
        return Listed(file=name, state=REFUSED, notes=(_missing(columns.missing),))
    stamps = columns.timestamps
    good = [] if stamps is None else stamps.micros[~stamps.bad].tolist()
    first, last = (iso_time(each) for each in (min(good), max(good))) if good else (None, None)
    notes = _assumed(series)
    if not ticks and not report.errors:
        bars = bars_from_columns(columns)
        stated = interpretation_of(series, options, bars, report, instrument, step_s)
        first, last = stated.first, stated.last
        notes += stated.notes
    counts = report.warning_counts
    notes += tuple(f"warning {rule} {count:,}" for rule, count in counts.items())
    length = "ticks" if ticks else None if series.step_s is None else bar_label(series.step_s)
    return Listed(
        file=name,
        state=ERRORS if report.errors else READABLE,
        format=layout.format or "own columns",
        symbol=next(iter(columns.symbols), None),
        instrument=None if instrument is None else instrument.symbol,
        rows=columns.rows,
        first=first,
        last=last,
        bar=length,
        notes=(*_errors(report), *notes),
    )


def _assumed(series: Series) -> tuple[str, ...]:
    pairs = (("times", series.zone), ("stamped at the", series.stamp))
    return tuple(
        f"{what} {value} ({ASSUMED})" for what, (value, origin) in pairs if ASSUMED in origin
    )


def _missing(names: tuple[str, ...]) -> str:
    if not names:
        return "no rows"
    return f"lacks {', '.join(names)}; --columns NAME=COLUMN says where they are"


def _errors(report: CheckReport) -> tuple[str, ...]:
    """Return the first error of each rule, with their number."""
    shown: dict[str, str] = {}
    for each in report.findings:
        if each.severity == "error":
            count = report.counts[each.rule]
            more = f" ({count:,} of them)" if count > 1 else ""
            shown.setdefault(each.rule, f"{each.rule}: {each.message}{more}")
    return tuple(shown.values())


def _line(text: str) -> str:
    return " ".join(text.split())
