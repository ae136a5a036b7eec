"""The layout of a kline archive: one zipped CSV per symbol, interval and month.

The layout is that of Binance's public data collection
(https://github.com/binance/binance-public-data): ``<base>/<SYMBOL>/<interval>/`` holds
``<SYMBOL>-<interval>-YYYY-MM.zip`` and its ``.CHECKSUM``. The CSV inside has twelve columns, with
or without a header; open times are in milliseconds, in spot files since 2025 in microseconds.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.csv

from rllib_tactical.data.io.parse import MICROS, NUMBER_COLUMNS
from rllib_tactical.domain.types import IntArray
from rllib_tactical.errors import DataError, UsageError

FUTURES_BASE_URL: Final = "https://data.binance.vision/data/futures/um/monthly/klines"
SPOT_BASE_URL: Final = "https://data.binance.vision/data/spot/monthly/klines"
INTERVAL_SECONDS: Final = {"1m": 60, "5m": 300}
# A month of 1-minute klines is about 7 MB of text.
MAX_CSV_BYTES: Final = 64 << 20

_COLUMNS: Final = (
    "open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume", "count",
    "taker_buy_volume", "taker_buy_quote_volume", "ignore",
)  # fmt: skip
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_FIRST_YEAR: Final = 2009  # no coin is older
# Milliseconds reach this in the year 5138, microseconds did in 1973.
_LEAST_MICROS: Final = 100_000_000_000_000


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A calendar month in UTC."""

    year: int
    month: int

    def __str__(self) -> str:
        """Return it as the archive writes it, ``2024-03``."""
        return f"{self.year:04d}-{self.month:02d}"

    @property
    def next(self) -> Month:
        """The month after this one."""
        return Month(self.year + self.month // 12, self.month % 12 + 1)

    @property
    def start_s(self) -> int:
        """UTC epoch seconds at which the month begins."""
        return int(datetime(self.year, self.month, 1, tzinfo=UTC).timestamp())


def parse_month(text: str, name: str = "month") -> Month:
    """Return the month written ``YYYY-MM``.

    Raises:
        UsageError: not a month of the years 2009 to 2199.
    """
    match = re.fullmatch(r"(\d{4})-(\d{2})", text)
    if match is None or not 1 <= int(match[2]) <= 12 or not _FIRST_YEAR <= int(match[1]) < 2200:
        raise UsageError(f"{name}: found {text!r}, expected YYYY-MM such as 2024-03")
    return Month(int(match[1]), int(match[2]))


def month_range(first: Month, last: Month) -> list[Month]:
    """Return the months from ``first`` to ``last``, both included.

    Raises:
        UsageError: ``last`` lies before ``first``.
    """
    if last < first:
        raise UsageError(f"months: the last, {last}, lies before the first, {first}")
    months = [first]
    while months[-1] < last:
        months.append(months[-1].next)
    return months


def month_url(base_url: str, symbol: str, interval: str, month: Month) -> str:
    """Return the address of a month's zip file.

    Raises:
        UsageError: the base is no plain http(s) address, or the symbol no symbol.
    """
    parts = urlsplit(base_url)
    plain = parts.hostname and not (parts.username or parts.password or parts.query)
    if parts.scheme not in ("http", "https") or not plain or parts.fragment:
        raise UsageError(
            "base URL: expected http(s)://host/path without user, query or fragment, "
            f"found {parts.scheme or 'no scheme'}"
        )
    if re.fullmatch(r"[A-Z0-9_]{1,40}", symbol) is None:
        raise UsageError(f"symbol: found {symbol!r}, expected capitals and digits such as BTCUSDT")
    return f"{base_url.rstrip('/')}/{symbol}/{interval}/{symbol}-{interval}-{month}.zip"


def read_month(path: Path, month: Month) -> Any:
    """Return a month's klines as an Arrow table: timestamp (us, UTC) and five float64 columns.

    The one member of the zip must be the CSV of the same name. It is read into memory up to a
    limit and never extracted, so neither its path nor its true size can do harm.

    Raises:
        DataError: a damaged zip, other content, a cell that is no number, rows of another month.
    """
    data = _member(path)
    head = data[:400].split(b"\n", 1)[0].decode(errors="replace")
    cells = [cell.strip().strip('"').lower() for cell in head.split(",")]
    names, skip = (list(_COLUMNS[: len(cells)]), 0) if cells[0].isdigit() else (cells, 1)
    wanted = ("open_time", *NUMBER_COLUMNS)
    if not set(wanted) <= set(names) or len(set(names)) != len(names) or len(cells) > len(_COLUMNS):
        raise DataError(
            f"{path.name}: the CSV needs the columns {', '.join(wanted)}; found: {head}"
        )
    types = {name: pa.float64() for name in NUMBER_COLUMNS} | {"open_time": pa.int64()}
    try:
        table = pa.csv.read_csv(
            io.BytesIO(data),
            read_options=pa.csv.ReadOptions(column_names=names, skip_rows=skip),
            convert_options=pa.csv.ConvertOptions(
                column_types=types, include_columns=list(wanted), null_values=[]
            ),
        )
    except pa.ArrowException as error:
        raise DataError(f"{path.name}: {' '.join(str(error).split())[:200]}") from error
    micros = _micros(table["open_time"].to_numpy())
    if micros.size == 0:
        raise DataError(f"{path.name}: the CSV holds no klines")
    begin, end = month.start_s * MICROS, month.next.start_s * MICROS
    strangers = np.flatnonzero((micros < begin) | (micros >= end))
    if strangers.size:
        when = np.datetime64(int(micros[strangers[0]]), "us")
        raise DataError(
            f"{path.name}: {strangers.size} of {micros.size} rows lie outside of {month}, "
            f"the first: row {strangers[0]} at {when}"
        )
    moments = pa.array(micros, pa.timestamp("us", tz="UTC"))
    return pa.table(
        [moments, *(table[name] for name in NUMBER_COLUMNS)], names=["timestamp", *NUMBER_COLUMNS]
    )


def _micros(open_time: IntArray) -> IntArray:
    """Return milliseconds or microseconds as microseconds; anything beyond both stays absurd."""
    milli = np.abs(open_time) < _LEAST_MICROS
    return np.where(milli, np.where(milli, open_time, 0) * 1000, open_time)


def _member(path: Path) -> bytes:
    expected = f"{path.stem}.csv"
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if names != [expected]:
                shown = ", ".join(name[:60] for name in names[:3]) or "nothing"
                raise DataError(f"{path.name}: expected only {expected} inside, found {shown}")
            # Only these can be unpacked in steps of a bounded size.
            if archive.getinfo(expected).compress_type not in _METHODS:
                raise DataError(f"{path.name}: packed by another method than deflate")
            with archive.open(expected) as stream:
                # The size that the zip declares may be a lie; what counts is what comes out.
                data = stream.read(MAX_CSV_BYTES + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"{path.name}: damaged zip file: {error}") from error
    if len(data) > MAX_CSV_BYTES:
        raise DataError(f"{path.name}: more than {MAX_CSV_BYTES >> 20} MiB inside, refused")
    return data
