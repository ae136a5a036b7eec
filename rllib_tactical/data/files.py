"""Read and write tables of bars: CSV (also gzipped), Parquet and Feather."""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet

from rllib_tactical.artifacts.atomic import atomic_file
from rllib_tactical.data.calendar.bar_length import BAR_SECONDS
from rllib_tactical.data.interpret.series import read_series, series_files
from rllib_tactical.data.io.parse import MICROS
from rllib_tactical.data.io.streams import SUFFIXES
from rllib_tactical.data.quality.rules import bars_from_columns, check_columns
from rllib_tactical.domain.types import Bars
from rllib_tactical.errors import UsageError


def read_bars(
    path: str | os.PathLike[str], *, bar_seconds: int = BAR_SECONDS, now_s: float | None = None
) -> Bars:
    """Return the bars of a file of no known instrument, refusing data with errors.

    Args:
        path: a file, a folder or a pattern of files of bars.
        bar_seconds: the length of a bar in seconds.
        now_s: the present as UTC epoch seconds; the clock's time without it.

    Raises:
        UnreadableError: the file cannot be read at all.
        DataError: the data break rules; the message names the first ten findings and the total.
        UsageError: what the file means is known only when more is said, or bars of that length do
            not tile a day.
    """
    columns = read_series(Path(path)).columns
    report = check_columns(columns, bar_seconds=bar_seconds, now_s=now_s, warnings=False)
    report.raise_errors(str(path))
    return bars_from_columns(columns)


def write_bars(bars: Bars, path: str | os.PathLike[str]) -> None:
    """Write bars in one step; the suffix chooses the format.

    Times are written in UTC (ISO-8601 text in CSV), numbers so that reading returns the same bits.

    Raises:
        UsageError: the suffix names no format, or the file cannot be written there.
    """
    moments = pa.array(bars.timestamp_s * MICROS, pa.timestamp("us", tz="UTC"))
    names = ("open", "high", "low", "close", "volume")
    arrays = [moments, *(pa.array(getattr(bars, name)) for name in names)]
    write_table(pa.table(arrays, names=["timestamp", *names]), path)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 (hex) of a file, or that of the hashes of a folder's or pattern's files.

    Raises:
        UnreadableError: a folder without files, or a pattern that matches none.
    """
    hashes = []
    for each in series_files(path):
        with each.open("rb") as file:
            hashes.append(hashlib.file_digest(file, "sha256").hexdigest())
    if len(hashes) == 1:
        return hashes[0]
    return hashlib.sha256("".join(f"{each}\n" for each in hashes).encode()).hexdigest()


def write_table(table: Any, path: str | os.PathLike[str]) -> None:
    """Write an Arrow table in one step; the suffix chooses the format.

    Raises:
        UsageError: the suffix names no format, or the file cannot be written there.
    """
    with table_writer(path) as write:
        write(table)


@contextmanager
def table_writer(path: str | os.PathLike[str]) -> Iterator[Callable[[Any], None]]:
    """Yield a function that appends an Arrow table; the file appears when the block ends well.

    All tables have the schema of the first one. One table is in memory at a time.

    Raises:
        UsageError: the suffix names no format, or the file cannot be written there.
    """
    target = Path(path)
    kind = output_kind(target)
    try:
        with atomic_file(target) as temporary, ExitStack() as stack:
            sink: list[Any] = []

            def write(table: Any) -> None:
                if not sink:
                    sink.append(_sink(kind, temporary, table.schema, stack))
                sink[0](table)

            yield write
            stack.close()  # before the file takes its name, so that it is whole then
    except OSError as error:
        raise UsageError(f"cannot write {target}: {error.strerror or error}") from error


def _sink(kind: str, path: Path, schema: Any, stack: ExitStack) -> Callable[[Any], None]:
    if kind == "parquet":
        rows: Callable[[Any], None] = stack.enter_context(
            pa.parquet.ParquetWriter(path, schema)
        ).write_table
        return rows
    if kind == "feather":
        blocks: Callable[[Any], None] = stack.enter_context(
            pa.ipc.new_file(str(path), schema)
        ).write_table
        return blocks
    stream: Any = stack.enter_context(path.open("wb"))
    if kind == "csv.gz":
        # Neither name nor time in the gzip header: equal bars make equal files.
        stream = stack.enter_context(gzip.GzipFile("", "wb", 6, stream, mtime=0))
    header = [True]

    def write_csv(table: Any) -> None:
        style = {"quoting_style": "none", "quoting_header": "none"}
        options = pa.csv.WriteOptions(include_header=header.pop() if header else False, **style)
        pa.csv.write_csv(_with_text_times(table), stream, options)

    return write_csv


def output_kind(path: str | os.PathLike[str]) -> str:
    """Return the format that the name of an output file asks for.

    Raises:
        UsageError: the suffix names no format.
    """
    name = Path(path).name.lower()
    for kind in ("csv", "csv.gz", "parquet", "feather"):
        if name.endswith(f".{kind}"):
            return kind
    raise UsageError(f"output file {os.fspath(path)!r}: the name must end in {SUFFIXES}")


def _with_text_times(table: Any) -> Any:
    # Arrow prints seconds with the fraction of the column's unit, so the unit must be seconds.
    seconds = table["timestamp"].cast(pa.timestamp("s", tz="UTC"))
    whole = pyarrow.compute.strftime(seconds, format="%Y-%m-%dT%H:%M:%SZ")
    return table.set_column(table.column_names.index("timestamp"), "timestamp", whole)
