from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from rllib_tactical.data.binance import archive
from rllib_tactical.data.binance.archive import (
    Month,
    month_range,
    month_url,
    parse_month,
    read_month,
)
from rllib_tactical.errors import DataError, UsageError
from tests.data.archive_server import HEADER, month_csv, zipped
from tests.data.tables import walk

MARCH = Month(2024, 3)
ROW = "1709251200000,1,2,0.5,1.5,9,1709251499999,1,1,1,1,0\n"


def month_file(folder: Path, text: str | bytes, method: int = zipfile.ZIP_DEFLATED) -> Path:
    path = folder / "BTCUSDT-5m-2024-03.zip"
    path.write_bytes(zipped("BTCUSDT-5m-2024-03.csv", text, method))
    return path


def test_months() -> None:
    assert parse_month("2024-03") == MARCH
    assert [str(m) for m in month_range(Month(2023, 11), Month(2024, 2))] == [
        "2023-11",
        "2023-12",
        "2024-01",
        "2024-02",
    ]
    assert MARCH.start_s == 1_709_251_200  # 2024-03-01T00:00:00Z
    for text in ("", "2024", "2024-13", "2024-00", "2024-3", "24-03", "2008-12", "2024-03-01"):
        with pytest.raises(UsageError, match="expected YYYY-MM"):
            parse_month(text)
    with pytest.raises(UsageError, match="lies before the first"):
        month_range(MARCH, Month(2024, 2))


def test_address() -> None:
    address = month_url("https://host/data/klines/", "BTCUSDT", "5m", MARCH)
    assert address == "https://host/data/klines/BTCUSDT/5m/BTCUSDT-5m-2024-03.zip"
    for base in ("ftp://host", "host/path", "https://", "http://a:b@host", "https://host?x=1"):
        with pytest.raises(UsageError, match="base URL"):
            month_url(base, "BTCUSDT", "5m", MARCH)
    for symbol in ("", "btc", "../BTC", "BTC/USDT", "A" * 41):
        with pytest.raises(UsageError, match="symbol"):
            month_url("https://host", symbol, "5m", MARCH)


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("micros", [True, False])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_every_form_of_a_month_reads_the_same(
    tmp_path: Path, header: bool, micros: bool, method: int
) -> None:
    path = month_file(tmp_path, month_csv(MARCH, header=header, micros=micros, rows=50), method)
    table = read_month(path, MARCH)
    expected = walk(50, start_s=MARCH.start_s, seed=3)
    assert table.column_names == ["timestamp", "open", "high", "low", "close", "volume"]
    times = table["timestamp"].to_numpy().astype("datetime64[s]").astype(np.int64)
    np.testing.assert_array_equal(times, expected["timestamp"])
    for name in ("open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(table[name].to_numpy(), expected[name])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs the columns"),
        (HEADER, "holds no klines"),
        ("a,b\n1,2\n", "needs the columns"),
        ("1709251200000,1,2,0.5\n", "needs the columns"),
        (ROW.strip() + ",13\n", "needs the columns"),
        (ROW + "1709251500000,x,2,0.5,1.5,9,1,1,1,1,1,0\n", "conversion error"),
        (ROW + "1709251500000,,2,0.5,1.5,9,1,1,1,1,1,0\n", "conversion error"),
        (ROW + "1709251500000,1\n", "Expected 12 columns"),
        (ROW + ROW.replace("17092512", "17092509"), "1 of 2 rows lie outside of 2024-03"),
        ("99" + ROW, "1 of 1 rows lie outside"),
        ("9" * 30 + ROW, "conversion error"),
    ],
)
def test_other_content_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_month(month_file(tmp_path, text), MARCH)
    assert "BTCUSDT-5m-2024-03.zip" in str(caught.value)


@pytest.mark.parametrize("name", ["../BTCUSDT-5m-2024-03.csv", "/etc/passwd", "other.csv"])
def test_a_path_inside_the_zip_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "BTCUSDT-5m-2024-03.zip"
    path.write_bytes(zipped(name, ROW))
    with pytest.raises(DataError, match=r"expected only BTCUSDT-5m-2024-03\.csv inside"):
        read_month(path, MARCH)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_bomb_is_refused_in_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MAX_CSV_BYTES", 1 << 20)
    with pytest.raises(DataError, match="more than 1 MiB inside, refused"):
        read_month(month_file(tmp_path, b"1" * (2 << 20)), MARCH)
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with pytest.raises(DataError, match="another method than deflate"):
            read_month(month_file(tmp_path, ROW, method), MARCH)


def test_a_damaged_zip_is_refused(tmp_path: Path) -> None:
    path = month_file(tmp_path, month_csv(MARCH, rows=200))
    whole = path.read_bytes()
    middle = len(whole) // 2
    for data in (
        b"",
        b"text",
        whole[:middle],
        whole[:middle] + b"\x00" * 64 + whole[middle + 64 :],
    ):
        path.write_bytes(data)
        with pytest.raises(DataError, match="damaged zip file"):
            read_month(path, MARCH)
