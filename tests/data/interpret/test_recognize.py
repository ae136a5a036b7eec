"""How columns, dates, numbers and symbols of files that no program wrote are recognized."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rllib_tactical.errors import DataError, UsageError
from tests.data.interpret.layouts import rows_of, session_bars, write_lines
from tests.data.interpret.plain_files import (
    HEAD,
    TRUTH,
    assert_same,
    lines_of,
    read,
)


@pytest.mark.parametrize(
    "header",
    ["time,o,h,l,c,vol", "Date,Open,High,Low,Close,Volume", "datetime,open,high,low,last,v"],
)
def test_usual_names_of_columns(tmp_path: Path, header: str) -> None:
    path = write_lines(tmp_path / "a.csv", [header, *lines_of()])
    reading = read(path)
    assert_same(reading.bars, TRUTH)
    first, *_ = header.split(",")
    assert f"timestamp={first}" in reading.interpretation.line("a.csv")


def test_a_header_may_hold_some_numbers(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.csv", [f"{HEAD},1,2,3,4", *(f"{x},,,," for x in lines_of())])
    assert_same(read(path).bars, TRUTH)


def test_columns_are_named_by_the_user(tmp_path: Path) -> None:
    header = "when,first,top,bottom,final,count"
    path = write_lines(tmp_path / "a.csv", [header, *lines_of()])
    with pytest.raises(DataError, match=r"--columns timestamp=COLUMN tells which one it is"):
        read(path)
    mapped = "timestamp=when,open=first,high=top,low=bottom,close=final,volume=count"
    assert_same(read(path, columns=mapped).bars, TRUTH)
    with pytest.raises(UsageError, match=r"has no column 'nothing', found when, first"):
        read(path, columns=mapped.replace("count", "nothing"))


def test_a_file_without_header(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.csv", [f"{line},9" for line in lines_of()])
    with pytest.raises(UsageError, match=r"a.csv has no header, .* --columns timestamp,open"):
        read(path)
    assert_same(read(path, columns="timestamp,open,high,low,close,volume,x").bars, TRUTH)
    with pytest.raises(UsageError, match=r"found 6 names, the first row of a.csv has 7 cells"):
        read(path, columns=HEAD)


def test_a_list_of_columns_is_not_for_a_file_with_a_header(bars_csv: Path) -> None:
    with pytest.raises(UsageError, match=r"has a header, timestamp, open, .*: write NAME=COLUMN"):
        read(bars_csv, columns=HEAD)


def test_no_volume_is_said(tmp_path: Path) -> None:
    rows = [line.rsplit(",", 1)[0] for line in lines_of()]
    path = write_lines(tmp_path / "a.csv", ["time,open,high,low,close", *rows])
    with pytest.raises(DataError, match=r"--columns volume=none that there is none"):
        read(path)
    reading = read(path, columns="volume=none")
    assert not reading.bars.volume.any()
    assert reading.interpretation.warnings["zero_volume_run"] == 1
    assert "no volume, read as 0" in reading.interpretation.line("a.csv")


def test_several_symbols_in_rows(tmp_path: Path) -> None:
    both = []
    for line in lines_of():
        time = line.split(",", 1)[0]
        both += [f"{line},TQQQ", f"{time},500,500,500,500,7,QQQ"]
    path = write_lines(tmp_path / "a.csv", [f"{HEAD},ticker", *both])
    with pytest.raises(UsageError, match=r"2 symbols \(TQQQ, QQQ\): choose one with --symbol"):
        read(path)
    reading = read(path, symbol="TQQQ")
    assert_same(reading.bars, TRUTH)
    assert reading.interpretation.symbol == "TQQQ"
    with pytest.raises(UsageError, match=r"--symbol: found 'SPY', a.csv holds TQQQ, QQQ"):
        read(path, symbol="SPY")


def test_a_symbol_needs_a_column(bars_csv: Path) -> None:
    with pytest.raises(UsageError, match=r"bars.csv has no column of symbols"):
        read(bars_csv, symbol="TQQQ")


def test_volumes_in_several_units(tmp_path: Path) -> None:
    head = "unix,date,symbol,open,high,low,close,Volume BTC,Volume USDT"
    rows = [
        f"{r.time.timestamp():.0f}000,{r.time:%Y-%m-%d},BTC/USDT,{','.join(r.prices)},{r.volume},1"
        for r in rows_of(TRUTH)
    ]
    path = write_lines(tmp_path / "a.csv", ["https://example.com", head, *rows[::-1]])
    assert_same(read(path, None).bars, TRUTH)


def test_two_units_in_one_column(tmp_path: Path) -> None:
    rows = [
        f"{int(r.time.timestamp()) * (1000 if at < 200 else 1_000_000)},{','.join(r.prices)},1"
        for at, r in enumerate(rows_of(TRUTH))
    ]
    path = write_lines(tmp_path / "a.csv", [HEAD, *rows])
    with pytest.raises(UsageError, match=r"the times have two units: us, and ms in 200 rows"):
        read(path)


def test_the_day_in_a_date(tmp_path: Path) -> None:
    first = session_bars(days=("2024-05-01",))
    for day_first, written in ((True, "%d/%m/%Y %H:%M"), (False, "%m/%d/%Y %H:%M")):
        path = write_lines(tmp_path / "a.csv", [HEAD, *lines_of(first, written)])
        with pytest.raises(UsageError, match=r"give --day-first or --month-first"):
            read(path, tz="UTC")
        assert_same(read(path, tz="UTC", day_first=day_first).bars, first)
        week = session_bars(days=[f"2024-05-0{day}" for day in (1, 2, 3, 6, 7)])
        write_lines(path, [HEAD, *lines_of(week, written)])
        assert_same(read(path, tz="UTC").bars, week)


def test_decimal_commas(tmp_path: Path) -> None:
    rows = [
        ";".join((f"{r.time:%Y-%m-%dT%H:%M:%SZ}", *(p.replace(".", ",") for p in r.prices), "7"))
        for r in rows_of(TRUTH)
    ]
    path = write_lines(tmp_path / "a.csv", [HEAD.replace(",", ";"), *rows])
    np.testing.assert_array_equal(read(path).bars.open, TRUTH.open)


def test_prices_in_another_unit(tmp_path: Path) -> None:
    rows = [
        f"{r.time:%Y-%m-%dT%H:%M:%SZ},{','.join(str(round(float(p) * 1e8)) for p in r.prices)},1"
        for r in rows_of(TRUTH)
    ]
    path = write_lines(tmp_path / "a.csv", [HEAD, *rows])
    with pytest.raises(DataError, match=r"price_scale: a typical price is .* give --price-scale"):
        read(path)
    np.testing.assert_array_equal(read(path, price_scale=1e-8).bars.close, TRUTH.close)


def test_rows_longer_than_the_header(tmp_path: Path) -> None:
    head, rows = f"{HEAD},trades", [f"{line[:-3]},{line[-3:]},10" for line in lines_of()]
    path = write_lines(tmp_path / "a.csv", [head, *rows])
    with pytest.raises(DataError, match=r"long_row: the row has more cells than the header"):
        read(path)
    trailing = write_lines(tmp_path / "b.csv", [HEAD, *(f"{line}," for line in lines_of())])
    assert_same(read(trailing).bars, TRUTH)


def test_dates_in_a_feather_file_need_no_option(tmp_path: Path) -> None:
    frame = pd.DataFrame({"date": pd.to_datetime(TRUTH.timestamp_s, unit="s", utc=True)})
    for name in HEAD.split(",")[1:]:
        frame[name] = getattr(TRUTH, name)
    frame.to_feather(tmp_path / "a.feather")
    assert_same(read(tmp_path / "a.feather").bars, TRUTH)
