"""Read the files of one instrument as one series of bars, interpreted as layout and user say."""

from __future__ import annotations

import glob
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from rllib_tactical.data.interpret.evidence import (
    has_sessions,
    inside_sessions,
    refuse_close_stamps,
    zone_hint,
)
from rllib_tactical.data.interpret.join import join_columns
from rllib_tactical.data.interpret.options import AS_FOUND, ReadOptions
from rllib_tactical.data.interpret.recognize import recognize
from rllib_tactical.data.interpret.zones import Zone
from rllib_tactical.data.io.columns import Columns
from rllib_tactical.data.io.layout import Layout
from rllib_tactical.data.io.parse import MICROS, Timestamps
from rllib_tactical.data.io.reading import columns_of
from rllib_tactical.data.io.scan import BLOCK_BYTES, BLOCK_ROWS, Scan
from rllib_tactical.data.quality.steps import common_step_s
from rllib_tactical.domain.types import Instrument
from rllib_tactical.errors import UnreadableError, UsageError
from rllib_tactical.runtime.progress import Update

OPTION: Final = "option"
FILE: Final = "file"
FORMAT: Final = "format"
ASSUMED: Final = "assumed"
"""Where a part of an interpretation is from."""

_SHOWN: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The rows of one or several files, with times in UTC at which bars open.

    ``zone`` and ``stamp`` are pairs of what was used and where that is from. ``step_s`` is the
    common distance of neighbors, None where there is none. ``dropped`` counts rows outside of
    sessions that were left out, ``repeated`` rows that two files have in common.
    """

    columns: Columns
    layouts: tuple[Layout, ...]
    files: tuple[Path, ...]
    zone: tuple[str, str]
    stamp: tuple[str, str]
    step_s: int | None
    newest_first: bool = False
    dropped: int = 0
    repeated: int = 0


def series_files(path: Path) -> tuple[Path, ...]:
    """Return the files that a path names: itself, those in a folder, or those of a pattern.

    Raises:
        UnreadableError: a folder without files, or a pattern that matches none.
    """
    if path.is_dir():
        files = sorted(
            file for file in path.iterdir() if file.is_file() and not file.name.startswith(".")
        )
    elif not path.exists() and glob.has_magic(str(path)):
        files = sorted(Path(name) for name in glob.glob(str(path), recursive=True))
    else:
        return (path,)
    if not files:
        raise UnreadableError(f"{path}: no files, expected files of bars of one instrument")
    return tuple(files)


def read_series(
    path: Path,
    options: ReadOptions = AS_FOUND,
    instrument: Instrument | None = None,
    *,
    ticks: bool = False,
    update: Update | None = None,
    block_bytes: int = BLOCK_BYTES,
    block_rows: int = BLOCK_ROWS,
) -> Series:
    """Return what a file, a folder or a pattern of files holds, as one series.

    Args:
        path: a file; a folder or a pattern such as ``bars/*.csv`` for several files.
        options: what the user says.
        instrument: supplies calendar and time zone, if it is known.
        ticks: whether ticks will do.
        update: is told how far the reading has come.
        block_bytes: the size of a block of CSV text.
        block_rows: the size of a block of anything else.

    Raises:
        UnreadableError: no such file, a folder, no permission, damaged or binary content.
        UsageError: what the file means is known only when more is said; names the option.
        DataError: two files disagree about a bar, or the calendar does not cover the times.
    """
    if options.session is not None and not has_sessions(instrument):
        raise UsageError(
            "--session regular needs an instrument whose market closes: name it with --instrument"
        )
    files = series_files(path)
    parts: list[Series] = []
    for number, file in enumerate(files):
        share = partial(_report, update, file, number, len(files))
        with Scan(file, block_bytes, block_rows) as scan:
            layout = recognize(scan, options, ticks=ticks)
            columns = columns_of(scan, layout, share)
        parts.append(_interpreted(file, layout, columns, options, instrument))
    series = parts[0] if len(parts) == 1 else _joined(parts)
    if options.session is not None and instrument is not None:
        series = _regular(series, instrument)
    return series


def _report(update: Update | None, file: Path, number: int, count: int, done: float) -> None:
    if update is not None:
        update(f"reading {file.name}", (number + done) / count)


def _interpreted(
    file: Path,
    layout: Layout,
    columns: Columns,
    options: ReadOptions,
    instrument: Instrument | None,
) -> Series:
    """Give the rows of one file their times in UTC, oldest first, at the open of each bar."""
    _require_one_symbol(file, layout, columns, options)
    if layout.symbol is not None:
        columns = replace(columns, symbols=(layout.symbol,))
    stamps = columns.timestamps
    newest_first = False
    if stamps is not None and columns.rows > 2 and not stamps.bad.any():
        newest_first = bool((np.diff(stamps.micros) < 0).all())
        if newest_first:
            columns = columns.take(np.arange(columns.rows - 1, -1, -1))
    columns, zone = _in_utc(file, layout, columns, options, instrument)
    stamps = columns.timestamps
    step_s = None if stamps is None else common_step_s(stamps.micros[~stamps.bad])
    stamp = (options.stamp or layout.stamp or "open", ASSUMED)
    if options.stamp is not None:
        stamp = (stamp[0], OPTION)
    elif layout.format is not None:
        stamp = (stamp[0], FORMAT)
    if stamps is not None and step_s is not None:
        if stamp[0] == "close":
            micros = np.where(stamps.bad, 0, stamps.micros - step_s * MICROS)
            columns = replace(columns, timestamps=replace(stamps, micros=micros))
        elif stamp[1] == ASSUMED and instrument is not None and has_sessions(instrument):
            refuse_close_stamps(stamps.micros[~stamps.bad], instrument, step_s, file.name)
    return Series(
        columns=columns,
        layouts=(layout,),
        files=(file,),
        zone=zone,
        stamp=stamp,
        step_s=step_s,
        newest_first=newest_first,
    )


def _require_one_symbol(file: Path, layout: Layout, columns: Columns, options: ReadOptions) -> None:
    shown = ", ".join(columns.symbols[:_SHOWN])
    if len(columns.symbols) > _SHOWN:
        shown += ", ..."
    if layout.symbol_position is None:
        return
    if layout.symbol is not None and layout.symbol not in columns.symbols:
        raise UsageError(f"--symbol: found {options.symbol!r}, {file.name} holds {shown}")
    if layout.symbol is None and len(columns.symbols) > 1:
        raise UsageError(
            f"{file.name} holds {len(columns.symbols)} symbols ({shown}): choose one with --symbol"
        )


def _in_utc(
    file: Path,
    layout: Layout,
    columns: Columns,
    options: ReadOptions,
    instrument: Instrument | None,
) -> tuple[Columns, tuple[str, str]]:
    """Bring times that name no zone to UTC, by the zone that is said, known or assumed."""
    stamps = columns.timestamps
    if stamps is None or not stamps.naive.any():
        if options.tz is not None and stamps is not None and stamps.micros.size:
            written = "are written with their zone" if columns.unit is None else "count from 1970"
            raise UsageError(f"--tz: the times of {file.name} {written}: leave --tz out")
        return columns, ("UTC", FILE)
    name, origin = _zone_of(file, layout, columns, options, instrument)
    if origin == ASSUMED:
        return columns, (name, origin)
    rows = np.flatnonzero(stamps.naive)
    utc, unknown = Zone.parse(name).to_utc(stamps.micros[rows])
    micros, bad = stamps.micros.copy(), stamps.bad.copy()
    micros[rows], bad[rows] = utc, unknown
    settled = Timestamps(micros, bad, np.zeros(columns.rows, dtype=np.bool_))
    impossible = None
    if unknown.any():
        impossible = np.zeros(columns.rows, dtype=np.bool_)
        impossible[rows] = unknown
    return replace(columns, timestamps=settled, impossible=impossible), (name, origin)


def _zone_of(
    file: Path,
    layout: Layout,
    columns: Columns,
    options: ReadOptions,
    instrument: Instrument | None,
) -> tuple[str, str]:
    if options.tz is not None:
        return options.tz, OPTION
    if len(columns.zones) == 1:
        return next(iter(columns.zones)), FILE
    if columns.zones:
        raise UsageError(
            f"{file.name}: the times name several zones ({', '.join(sorted(columns.zones))})"
        )
    if layout.zone == "exchange" and instrument is not None:
        return instrument.timezone, FORMAT
    if layout.zone is not None and layout.zone != "exchange":
        return layout.zone, FORMAT if layout.format is not None else FILE
    if layout.zone is None and (instrument is None or not has_sessions(instrument)):
        return "UTC", ASSUMED
    hint = ""
    if instrument is not None and columns.timestamps is not None:
        hint = zone_hint(columns.timestamps.micros[columns.timestamps.naive], instrument)
    raise UsageError(f"{file.name}: the times name no time zone: give --tz{hint}")


def _joined(parts: list[Series]) -> Series:
    """Return several files as one series, the file that begins first being the first."""
    zones, stamps = {part.zone for part in parts}, {part.stamp for part in parts}
    columns, order, repeated = join_columns(
        [part.columns for part in parts], [str(part.files[0].name) for part in parts]
    )
    steps = [part.step_s for part in parts if part.step_s is not None]
    return Series(
        columns=columns,
        layouts=tuple(parts[at].layouts[0] for at in order),
        files=tuple(parts[at].files[0] for at in order),
        zone=_one_of(zones),
        stamp=_one_of(stamps),
        step_s=min(steps) if steps else None,
        newest_first=any(part.newest_first for part in parts),
        repeated=repeated,
    )


def _one_of(found: set[tuple[str, str]]) -> tuple[str, str]:
    values = sorted({value for value, _ in found})
    origins = sorted({origin for _, origin in found})
    return " and ".join(values), " and ".join(origins)


def _regular(series: Series, instrument: Instrument) -> Series:
    stamps = series.columns.timestamps
    if stamps is None or series.step_s is None:
        return series
    rows = np.flatnonzero(~stamps.bad)
    inside = inside_sessions(stamps.micros[rows] // MICROS, instrument.calendar, series.step_s)
    keep = np.ones(series.columns.rows, dtype=np.bool_)
    keep[rows] = inside
    dropped = int(np.count_nonzero(~keep))
    if not dropped:
        return series
    return replace(series, columns=series.columns.take(np.flatnonzero(keep)), dropped=dropped)
