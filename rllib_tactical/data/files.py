"""Read and write tables of bars: CSV (also gzipped), Parquet and Feather.

What a file is gets decided by its content, so a wrong suffix does no harm; only a suffix that
promises a binary format must be true. CSV cells are kept as text, so that a cell that cannot be
read as a number is reported with its row instead of failing the file.
"""

from __future__ import annotations

import csv
import gzip
import io
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet

from rllib_tactical.atomic import atomic_file
from rllib_tactical.data.check import bars_from_columns, check_columns
from rllib_tactical.data.parse import MICROS, parse_columns
from rllib_tactical.domain.types import Bars
from rllib_tactical.errors import UnreadableError, UsageError

_MAGIC: Final = {
    "parquet": b"PAR1",
    "feather": b"ARROW1",
    "feather v1": b"FEA1",
    "gzip": b"\x1f\x8b",
}
_PROMISED: Final = {
    ".parquet": ("parquet",),
    ".pq": ("parquet",),
    ".feather": ("feather", "feather v1"),
    ".arrow": ("feather",),
    ".gz": ("gzip",),
}
_SUFFIXES: Final = ".csv, .csv.gz, .parquet or .feather"


def read_table(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Return the cells of a file as they are, one row per data row; no cell is judged here.

    CSV columns hold text: the delimiter (comma, semicolon, tab or bar) is told by the header,
    blank lines are skipped, a short row is filled up with empty cells, and surplus cells of a long
    row are joined to its last one. Bytes that are not UTF-8 become U+FFFD.

    Raises:
        UnreadableError: no such file, a folder, no permission, damaged or binary content.
    """
    source = Path(path)
    try:
        data = source.read_bytes()
    except OSError as error:
        raise UnreadableError(f"{source}: {error.strerror or error}") from error
    except ValueError as error:
        raise UnreadableError(f"{str(source)!r}: {error}") from error
    kind = _kind(source, data)
    if kind == "gzip":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise UnreadableError(f"{source}: damaged gzip file: {error}") from error
        kind = _kind(source.with_suffix(""), data)
    try:
        if kind == "parquet":
            return _frame(pa.parquet.ParquetFile(io.BytesIO(data)).read())
        if kind == "feather":
            return _frame(pa.ipc.open_file(io.BytesIO(data)).read_all())
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:
        raise UnreadableError(f"{source}: damaged {kind} file: {_one_line(error)}") from error
    if kind != "text":
        raise UnreadableError(f"{source}: {kind} files are not supported, expected {_SUFFIXES}")
    return _read_text(source, data)


def read_bars(
    path: str | os.PathLike[str], *, bar_seconds: int = 300, now_s: float | None = None
) -> Bars:
    """Return the bars of a file, refusing data with errors.

    Args:
        path: a CSV, .csv.gz, Parquet or Feather file.
        bar_seconds: the length of a bar in seconds.
        now_s: the present as UTC epoch seconds; the clock's time without it.

    Raises:
        UnreadableError: the file cannot be read at all.
        DataError: the data break rules; the message names the first ten findings and the total.
        UsageError: bars of that length do not tile a day.
    """
    columns = parse_columns(read_table(path))
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
    raise UsageError(f"output file {os.fspath(path)!r}: the name must end in {_SUFFIXES}")


def _kind(source: Path, data: bytes) -> str:
    kind = next((kind for kind, magic in _MAGIC.items() if data.startswith(magic)), "text")
    promised = _PROMISED.get(source.suffix.lower())
    if promised is not None and kind not in promised:
        raise UnreadableError(f"{source}: not a {promised[0]} file, as its name says")
    return kind


def _frame(table: Any) -> pd.DataFrame:
    # Columns are taken one by one: pandas cannot convert a table with a column name twice.
    columns = [column.to_pandas(date_as_object=False) for column in table.columns]
    frame = pd.DataFrame(dict(enumerate(columns)), index=pd.RangeIndex(table.num_rows))
    frame.columns = pd.Index(table.column_names, dtype=object)
    return frame


def _read_text(source: Path, data: bytes) -> pd.DataFrame:
    if b"\x00" in data[:65_536]:
        raise UnreadableError(f"{source}: binary content, expected {_SUFFIXES}")
    data = data.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    if not data.strip():
        return pd.DataFrame()
    header = data[: _line_end(data)]
    try:
        names = _header(header.decode())
    except (UnicodeDecodeError, csv.Error) as error:
        raise UnreadableError(f"{source}: the header is not UTF-8 text: {error}") from error
    delimiter = _delimiter(header.decode())
    keys = [str(number) for number in range(len(names))]
    try:
        table = pa.csv.read_csv(
            io.BytesIO(data),
            read_options=pa.csv.ReadOptions(column_names=keys, skip_rows=1),
            parse_options=pa.csv.ParseOptions(delimiter=delimiter),
            convert_options=pa.csv.ConvertOptions(column_types=dict.fromkeys(keys, pa.string())),
        )
        frame: pd.DataFrame = table.to_pandas()
    except pa.ArrowException:
        frame = _read_ragged(source, data, delimiter, keys)
    frame.columns = pd.Index(names, dtype=object)
    return frame


def _read_ragged(source: Path, data: bytes, delimiter: str, keys: list[str]) -> pd.DataFrame:
    """Read row by row what the fast reader refuses: uneven rows, bytes that are not UTF-8."""
    width = len(keys)
    columns: list[list[str]] = [[] for _ in keys]
    lines = io.StringIO(data.decode(errors="replace"), newline="")
    try:
        rows = csv.reader(lines, delimiter=delimiter)
        next(rows)
        for row in rows:
            if not row:
                continue
            if len(row) > width:
                row = [*row[: width - 1], delimiter.join(row[width - 1 :])]
            for column, cell in zip(columns, row + [""] * (width - len(row)), strict=True):
                column.append(cell)
    except csv.Error as error:
        raise UnreadableError(f"{source}: not a CSV file: {error}") from error
    return pd.DataFrame(dict(zip(keys, columns, strict=True)), dtype=str)


def _header(line: str) -> list[str]:
    return [name.strip() for name in next(csv.reader([line], delimiter=_delimiter(line)))]


def _delimiter(line: str) -> str:
    return max(",;\t|", key=line.count)


def _line_end(data: bytes) -> int:
    ends = [end for end in (data.find(b"\n"), data.find(b"\r")) if end >= 0]
    return min(ends, default=len(data))


def _with_text_times(table: Any) -> Any:
    # Arrow prints seconds with the fraction of the column's unit, so the unit must be seconds.
    seconds = table["timestamp"].cast(pa.timestamp("s", tz="UTC"))
    whole = pyarrow.compute.strftime(seconds, format="%Y-%m-%dT%H:%M:%SZ")
    return table.set_column(table.column_names.index("timestamp"), "timestamp", whole)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
