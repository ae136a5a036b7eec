"""Every way a file of bars can be wrong, and the message that a user gets for it."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rllib_tactical.data.instruments import load_instrument
from rllib_tactical.data.interpret.options import ReadOptions
from rllib_tactical.data.quality.findings import ERROR_RULES, WARNING_RULES, CheckReport
from rllib_tactical.data.quality.rules import check_columns
from rllib_tactical.errors import UnreadableError
from tests.data.tables import NOW_S, START_S, read_columns, walk_frame


def zip_of(*names: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), "x")
    return packed.getvalue()


def flagged_zip(bit: int) -> bytes:
    """Return a zip of one file with a bit of its flags set: 0 encrypted, 5 patched."""
    content = bytearray(zip_of("bars.csv"))
    for at in (content.index(b"PK\x03\x04") + 6, content.index(b"PK\x01\x02") + 8):
        content[at] |= 1 << bit
    return bytes(content)


def named_zip(name: bytes) -> bytes:
    """Return a zip of one file with this name, said to be UTF-8."""
    content = bytearray(zip_of("bars.csv"))
    for at in (content.index(b"PK\x03\x04") + 6, content.index(b"PK\x01\x02") + 8):
        content[at + 1] |= 8
    return bytes(content).replace(b"bars.csv", name)


HEADER = "timestamp,open,high,low,close,volume\n"
Change = Callable[[pd.DataFrame], pd.DataFrame | str]


def cells(column: str, rows: int | slice, value: Any, *, text: bool = False) -> Change:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        if text:
            frame[column] = frame[column].astype(str)
        frame.loc[rows, column] = value
        return frame

    return change


def frozen(frame: pd.DataFrame) -> pd.DataFrame:
    frame.loc[10:25, ["open", "high", "low", "close"]] = [100.0, 101.0, 99.0, 100.0]
    return frame


def scaled(factor: float, begin: int, end: int) -> Change:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[begin : end - 1, ["open", "high", "low", "close"]] *= factor
        return frame

    return change


def naive(frame: pd.DataFrame) -> pd.DataFrame:
    frame["timestamp"] = pd.to_datetime(frame["timestamp"], unit="s").dt.strftime(
        "%Y-%m-%d %H:%M:%S"
    )
    return frame


def long_row(frame: pd.DataFrame) -> str:
    lines = frame.to_csv(index=False).splitlines()
    lines[8] = lines[8] + ",7"
    return "\n".join(lines) + "\n"


def minutes(frame: pd.DataFrame) -> pd.DataFrame:
    frame["timestamp"] = START_S + 60 * np.arange(len(frame))
    return frame


def skipped_hour(frame: pd.DataFrame) -> pd.DataFrame:
    frame["timestamp"] = [
        f"2022-03-13 {minute // 60:02}:{minute % 60:02}:00" for minute in range(0, 200, 5)
    ]
    return frame


def sessions(frame: pd.DataFrame) -> pd.DataFrame:
    """Write whole sessions of New York as a clock two hours ahead of UTC shows them."""
    at = np.arange(len(frame))
    frame["timestamp"] = START_S + 52_200 + 7_200 + 86_400 * (at // 78) + 300 * (at % 78)
    return frame


# What is wrong: rows of the table before, the change, the rule to show.
TABLES: dict[str, tuple[int, Change, str]] = {
    "bars of another length": (40, minutes, "wrong_bar_length"),
    "times of another zone": (234, sessions, "wrong_zone"),
    "prices in another unit": (40, scaled(1e9, 0, 40), "price_scale"),
    "a row of more cells": (40, long_row, "long_row"),
    "a time that clocks skip": (40, skipped_hour, "impossible_time"),
    "prices off the tick": (40, cells("close", 7, 100.003), "off_tick"),
    "no data row": (40, lambda f: f.iloc[:0], "empty_file"),
    "a column is not there": (40, lambda f: f.drop(columns="volume"), "missing_column"),
    "a column is there twice": (
        40,
        lambda f: pd.concat([f, f[["close"]]], axis=1),
        "duplicate_column",
    ),
    "text for a price": (40, cells("close", 7, "oops", text=True), "unparsable_cell"),
    "decimal comma": (40, cells("close", 7, "1,5", text=True), "unparsable_cell"),
    "text for a time": (40, cells("timestamp", 7, "yesterday", text=True), "unparsable_cell"),
    "empty time": (40, cells("timestamp", 7, "", text=True), "unparsable_cell"),
    "empty price": (40, cells("open", 3, "", text=True), "not_finite"),
    "NaN": (40, cells("open", 3, "NaN", text=True), "not_finite"),
    "infinity": (40, cells("volume", 3, np.inf), "not_finite"),
    "price of zero": (40, cells("low", 4, 0.0), "price_not_positive"),
    "negative price": (40, cells("low", 4, -1.0), "price_not_positive"),
    "high below open or close": (40, cells("high", 5, 1.0), "high_too_low"),
    "low above open or close": (40, cells("low", 5, 1000.0), "low_too_high"),
    "negative volume": (40, cells("volume", 6, -1.0), "negative_volume"),
    "one time twice": (40, cells("timestamp", 9, START_S + 2400), "duplicate_timestamp"),
    "times not in order": (40, cells("timestamp", 9, START_S - 300), "out_of_order"),
    "time off the grid": (40, cells("timestamp", 9, START_S + 2701), "off_grid"),
    "time in the future": (40, cells("timestamp", 39, 2_000_000_100), "in_future"),
    "no time zone": (40, naive, "naive_timestamps"),
    "outside of the session": (40, lambda f: f, "outside_session"),
    "bars are missing": (40, lambda f: f.drop(index=range(7, 10)), "missing_bars"),
    "a session is short": (600, lambda f: f.drop(index=range(300, 400)), "short_session"),
    "no volume": (40, cells("volume", slice(7, 11), 0.0), "zero_volume_run"),
    "prices stand still": (40, frozen, "frozen_prices"),
    "an odd return": (600, scaled(1.2, 400, 600), "outlier_return"),
    "a symbol of its own": (
        40,
        cells("symbol", slice(0, 40), "QQQ"),
        "other_symbol",
    ),
    "a jump between sessions": (2880, scaled(1.2, 1440, 2880), "roll_jump"),
}

# The instruments whose calendar or tick shows what is wrong.
INSTRUMENTS = {
    "outside_session": "TQQQ",
    "wrong_zone": "TQQQ",
    "price_scale": "TQQQ",
    "off_tick": "TQQQ",
    "other_symbol": "TQQQ",
}

CONTENTS: dict[str, tuple[str, bytes | None]] = {
    "no such file": ("bars.csv", None),
    "binary content": ("bars.csv", b"\x00\x01\x02" * 50),
    "a spreadsheet": ("bars.xlsx", zip_of("xl/workbook.xml")),
    "a zip of several files": ("bars.zip", zip_of("a.csv", "b.csv")),
    "a damaged zip": ("bars.zip", b"PK\x03\x04\x00\x00"),
    "an encrypted zip": ("bars.zip", flagged_zip(0)),
    "a zip with a damaged name": ("bars.zip", named_zip(b"b\xe9rs.csv")),
    "a zip of a kind that is not known": ("bars.zip", flagged_zip(5)),
    "JSON that is no list of rows": ("bars.json", b"[[1, 2], [3]]"),
    "header not UTF-8": ("bars.csv", b"timest\xffamp,open\n1,2\n"),
    "text named Parquet": ("bars.parquet", b"some text"),
    "text named Feather": ("bars.feather", b"some text"),
    "text named gzip": ("bars.csv.gz", HEADER.encode()),
    "cut gzip": ("bars.csv.gz", gzip.compress(HEADER.encode() * 5000, mtime=0)[:-20]),
    "damaged gzip": ("bars.csv.gz", b"\x1f\x8b\x08" + b"garbage" * 9),
    "damaged Parquet": ("bars.parquet", b"PAR1" + b"x" * 100),
    "damaged Feather": ("bars.feather", b"ARROW1" + b"x" * 100),
    "Feather of version 1": ("bars.feather", b"FEA1" + b"x" * 100),
}


def report_of(name: str, folder: Path) -> CheckReport:
    rows, change, rule = TABLES[name]
    path = folder / "bars.csv"
    changed = change(walk_frame(rows))
    path.write_text(changed if isinstance(changed, str) else changed.to_csv(index=False))
    market = load_instrument(INSTRUMENTS[rule]) if rule in INSTRUMENTS else None
    options = ReadOptions(tz="America/New_York") if rule == "impossible_time" else ReadOptions()
    return check_columns(read_columns(path, options=options), instrument=market, now_s=NOW_S)


def finding_rows(folder: Path) -> Iterator[tuple[str, ...]]:
    """Yield (what is wrong, severity, rule, row, message) of every table above."""
    for name, (_, _, rule) in TABLES.items():
        report = report_of(name, folder)
        found = next(finding for finding in report.findings if finding.rule == rule)
        row = "file" if found.row is None else str(found.row)
        yield name, found.severity, f"`{rule}`", row, found.message


def unreadable_rows(folder: Path) -> Iterator[tuple[str, ...]]:
    """Yield (what is wrong, message) of every content above; paths without their folder."""
    for name, (file, content) in CONTENTS.items():
        path = folder / file
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        try:
            read_columns(path)
        except UnreadableError as error:
            yield name, str(error).replace(str(path), file)
        path.unlink(missing_ok=True)


def markdown(header: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "".join(
        f"| {' | '.join(c.replace('|', chr(92) + '|') for c in row)} |\n" for row in lines
    )


def tables(folder: Path) -> tuple[str, str]:
    """Return the two tables of docs/reference/data.md."""
    found = markdown(("what", "severity", "rule", "row", "message"), finding_rows(folder))
    return found, markdown(("what", "message"), unreadable_rows(folder))


ALL_RULES = {*ERROR_RULES, *WARNING_RULES}
