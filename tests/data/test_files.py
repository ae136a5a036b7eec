from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rllib_tactical.data.files import read_bars, write_bars
from rllib_tactical.data.quality.rules import check_columns
from rllib_tactical.domain.types import Bars
from rllib_tactical.errors import DataError, UnreadableError, UsageError
from tests.data.tables import NOW_S, read_columns, walk_bars, walk_frame

FORMATS = ("csv", "csv.gz", "parquet", "feather")
HEADER = "timestamp,open,high,low,close,volume\n"


def assert_same(first: Bars, second: Bars) -> None:
    for name in ("timestamp_s", "open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


@pytest.mark.parametrize("suffix", FORMATS)
def test_round_trip_returns_the_same_bits(tmp_path: Path, suffix: str) -> None:
    bars = walk_bars(500)
    path = tmp_path / f"bars.{suffix}"
    write_bars(bars, path)
    assert_same(read_bars(path, now_s=NOW_S), bars)
    assert os.listdir(tmp_path) == [path.name]


def test_equal_bars_make_equal_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_bars(walk_bars(), tmp_path / f"{name}.csv.gz")
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()


def test_csv_looks_as_documented(tmp_path: Path) -> None:
    write_bars(walk_bars(1), tmp_path / "a.csv")
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines[0] + "\n" == HEADER
    assert lines[1].startswith("2022-01-03T00:00:00Z,100,")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_and_byte_order_mark(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "a.csv"
    walk_frame().to_csv(path, index=False, sep=delimiter, encoding="utf-8-sig")
    assert len(read_bars(path, now_s=NOW_S)) == 40


def test_the_content_decides_not_the_suffix(tmp_path: Path) -> None:
    write_bars(walk_bars(), tmp_path / "a.parquet")
    (tmp_path / "a.parquet").rename(tmp_path / "a.csv")
    assert len(read_bars(tmp_path / "a.csv", now_s=NOW_S)) == 40
    walk_frame().to_csv(tmp_path / "a.txt", index=False)
    assert len(read_bars(tmp_path / "a.txt", now_s=NOW_S)) == 40


def test_parquet_with_the_time_as_index_and_extra_columns(tmp_path: Path) -> None:
    frame = walk_frame().assign(note="x")
    frame["timestamp"] = pd.to_datetime(frame["timestamp"], unit="s", utc=True).dt.tz_convert(
        "America/New_York"
    )
    frame.set_index("timestamp").to_parquet(tmp_path / "a.parquet")
    assert_same(read_bars(tmp_path / "a.parquet", now_s=NOW_S), walk_bars())


def test_parquet_column_twice(tmp_path: Path) -> None:
    table = pa.table([[1], [2], [3]], names=["timestamp", "open", "open"])
    pq.write_table(table, tmp_path / "a.parquet")
    report = check_columns(read_columns(tmp_path / "a.parquet"))
    assert report.counts["duplicate_column"] == 1


def test_decimal_and_date_columns(tmp_path: Path) -> None:
    table = pa.Table.from_pandas(walk_frame(1), preserve_index=False)
    decimal = pa.array([100.0]).cast(pa.decimal128(20, 6))
    table = table.set_column(table.column_names.index("open"), "open", decimal)
    table = table.set_column(0, "timestamp", pa.array([18_995], pa.date32()))
    pq.write_table(table, tmp_path / "a.parquet")
    bars = read_bars(tmp_path / "a.parquet", now_s=NOW_S)
    assert bars.open.tolist() == [100.0]
    assert bars.timestamp_s.tolist() == [18_995 * 86_400]


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.csv", b"\x00\x01\x02" * 50, "binary"),
        ("a.parquet", b"some text", "not a parquet file"),
        ("a.feather", b"some text", "not a feather file"),
        ("a.csv.gz", b"a,b\n1,2\n", "not a gzip file"),
        ("a.csv.gz", gzip.compress(b"a,b\n" * 5000, mtime=0)[:-20], "gzip"),
        ("a.csv.gz", b"\x1f\x8b\x08" + b"garbage" * 9, "gzip"),
        ("a.csv.gz", gzip.compress(b"\x00" * 99, mtime=0), "binary"),
        ("a.parquet", b"PAR1" + b"x" * 100, "damaged parquet"),
        ("a.parquet", b"", "not a parquet file"),
        ("a.feather", b"ARROW1" + b"x" * 100, "damaged feather"),
        ("a.feather", b"FEA1" + b"x" * 100, "not supported"),
        ("a.csv", b"timest\xffamp,open\n1,2\n", "not UTF-8"),
        ("a.xlsx", b"PK\x03\x04\x00\x00", "damaged zip"),
    ],
)
def test_unreadable_content(tmp_path: Path, name: str, content: bytes, text: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableError, match=text):
        read_bars(tmp_path / name)


@pytest.mark.parametrize("suffix", FORMATS[1:])
def test_truncated_files(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    write_bars(walk_bars(500), path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UnreadableError):
        read_bars(path)


def test_missing_file_folder_and_impossible_name(tmp_path: Path) -> None:
    with pytest.raises(UnreadableError, match="No such file"):
        read_columns(tmp_path / "none.csv")
    with pytest.raises(UnreadableError, match="no files"):
        read_columns(tmp_path)
    with pytest.raises(UnreadableError, match="null"):
        read_columns("a\0b.csv")


@pytest.mark.parametrize("content", [b"", b"\n\n", b"  \n", HEADER.encode()])
def test_empty_files_are_an_error_of_the_data(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DataError, match="empty_file"):
        read_bars(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ("2022-01-03T00:05:00Z,1,1,1,1", "volume"),
        ("2022-01-03T00:05:00Z,1,1,1,1,5,9", "volume"),
        ("garbage", "timestamp"),
        ("2022-01-03T00:05:00Z,1,1,1,\xff,5", "close"),
    ],
)
def test_uneven_rows_and_foreign_bytes_are_findings(tmp_path: Path, row: str, column: str) -> None:
    good = "2022-01-03T00:00:00Z,1,1,1,1,5\n"
    (tmp_path / "a.csv").write_bytes((HEADER + good + row + "\n").encode("latin-1"))
    report = check_columns(read_columns(tmp_path / "a.csv"), now_s=NOW_S)
    assert {f.row for f in report.findings} == {1}
    assert any(f.message.startswith(column) for f in report.findings)


def test_blank_lines_do_not_count_as_rows(tmp_path: Path) -> None:
    rows = "2022-01-03T00:00:00Z,1,1,1,1,5\n\n2022-01-03T00:05:00Z,1,1,1,1,x\n"
    (tmp_path / "a.csv").write_text(HEADER + rows)
    report = check_columns(read_columns(tmp_path / "a.csv"), now_s=NOW_S)
    assert [f.row for f in report.findings] == [1]


def test_refused_data_names_the_file_and_the_rule(tmp_path: Path) -> None:
    walk_frame().assign(close=-1.0).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(DataError, match=r"a\.csv: .*error\(s\) in 40 rows"):
        read_bars(tmp_path / "a.csv", now_s=NOW_S)


def test_other_bar_lengths(tmp_path: Path) -> None:
    write_bars(walk_bars(bar_seconds=60), tmp_path / "a.csv")
    assert len(read_bars(tmp_path / "a.csv", bar_seconds=60, now_s=NOW_S)) == 40
    with pytest.raises(DataError, match="these are 1min bars, not 5min bars; data import"):
        read_bars(tmp_path / "a.csv", now_s=NOW_S)


@pytest.mark.parametrize("name", ["a.txt", "a", "none/a.csv"])
def test_writing_where_it_cannot_be(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        write_bars(walk_bars(), tmp_path / name)
    assert os.listdir(tmp_path) == []


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("TQQQ_5m_RTH_2022-01_2026-02.csv.gz", 79_720),
        ("BTCUSDT_perp_5m_2025-03_2025-04.parquet", 10_906),
        ("ETHUSDT_perp_5m_2025-03_2025-04.parquet", 10_906),
    ],
)
def test_real_files_have_no_errors(real_data: Path, name: str, rows: int) -> None:
    if not (real_data / name).exists():
        pytest.skip(f"{name} is absent")
    assert len(read_bars(real_data / name)) == rows
