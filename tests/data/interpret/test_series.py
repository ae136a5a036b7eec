"""What is recognized, assumed and refused about files that no program wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rllib_tactical.data.instruments import load_instrument
from rllib_tactical.data.interpret.options import ReadOptions
from rllib_tactical.data.interpret.read import Reading, read_interpreted
from rllib_tactical.domain.types import Bars, Instrument
from rllib_tactical.errors import DataError, TacticalError, UnreadableError, UsageError
from tests.data.interpret.layouts import NEW_YORK, rows_of, session_bars, write_lines

TRUTH = session_bars()
TQQQ = load_instrument("TQQQ")
HEAD = "timestamp,open,high,low,close,volume"


def assert_same(found: Bars, truth: Bars) -> None:
    for name in ("timestamp_s", "open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(getattr(found, name), getattr(truth, name), err_msg=name)


def lines_of(bars: Bars = TRUTH, time: str = "%Y-%m-%dT%H:%M:%SZ") -> list[str]:
    return [f"{r.time:{time}},{','.join(r.prices)},{r.volume}" for r in rows_of(bars)]


def local_lines(bars: Bars = TRUTH) -> list[str]:
    return [
        f"{r.time.astimezone(NEW_YORK):%Y-%m-%d %H:%M:%S},{','.join(r.prices)},{r.volume}"
        for r in rows_of(bars)
    ]


def read(path: Path, instrument: Instrument | None = TQQQ, **options: Any) -> Reading:
    return read_interpreted(path, ReadOptions(**options), instrument)


@pytest.fixture
def bars_csv(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "bars.csv", [HEAD, *lines_of()])


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


def test_newest_first_is_turned_round(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.csv", [HEAD, *lines_of()[::-1]])
    reading = read(path)
    assert_same(reading.bars, TRUTH)
    assert reading.interpretation.notes == ("newest first",)


def test_rows_are_those_of_the_file_also_when_it_is_turned_round(tmp_path: Path) -> None:
    lines = lines_of()[::-1]
    lines[3] = lines[3].replace(",", ",x", 1)
    path = write_lines(tmp_path / "a.csv", [HEAD, *lines])
    with pytest.raises(DataError, match=r"row 3 .*unparsable_cell: open is 'x"):
        read(path)


def test_times_without_a_zone(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.csv", [HEAD, *local_lines()])
    with pytest.raises(
        UsageError,
        match=r"a.csv: the times name no time zone: give --tz; as America/New_York 100% of",
    ):
        read(path)
    assert_same(read(path, tz="America/New_York").bars, TRUTH)
    always_open = read(path, None)
    assert always_open.interpretation.zone_from == "assumed"
    assert always_open.interpretation.warnings["naive_timestamps"] == 1
    with pytest.raises(DataError, match=r"wrong_zone"):
        read(path, tz="Asia/Tokyo")


def test_a_zone_that_is_written_is_not_said(bars_csv: Path) -> None:
    with pytest.raises(UsageError, match=r"the times of bars.csv are written with their zone"):
        read(bars_csv, tz="America/New_York")


def test_a_column_that_names_utc(tmp_path: Path) -> None:
    head = HEAD.replace("timestamp", "timestamp_utc")
    path = write_lines(tmp_path / "a.csv", [head, *lines_of(time="%Y-%m-%d %H:%M:%S")])
    reading = read(path)
    assert_same(reading.bars, TRUTH)
    assert (reading.interpretation.zone, reading.interpretation.zone_from) == ("UTC", "file")


def closing(bars: Bars, seconds: int) -> Bars:
    return Bars(bars.timestamp_s + seconds, *(getattr(bars, n) for n in HEAD.split(",")[1:]))


@pytest.mark.parametrize("seconds", [300, 60])
def test_times_at_which_bars_close(tmp_path: Path, seconds: int) -> None:
    truth = session_bars(seconds)
    path = write_lines(tmp_path / "a.csv", [HEAD, *lines_of(closing(truth, seconds))])
    settings: dict[str, Any] = {"bar_seconds": seconds, "instrument": TQQQ}
    with pytest.raises(UsageError, match=r"6 of 6 sessions lack the bar .* Give --stamp close"):
        read_interpreted(path, **settings)
    found = read_interpreted(path, ReadOptions(stamp="close"), **settings)
    assert_same(found.bars, truth)
    assert found.interpretation.stamp_from == "option"
    insisted = read_interpreted(path, ReadOptions(stamp="open"), **settings)
    assert insisted.bars.timestamp_s[0] == truth.timestamp_s[0] + seconds


def test_around_the_clock_nothing_shows_the_stamp(bars_csv: Path) -> None:
    reading = read(bars_csv, None)
    assert reading.interpretation.stamp_from == "assumed"
    assert "stamped at the open (assumed)" in reading.interpretation.line("bars.csv")


def test_extended_hours_are_dropped_on_request(tmp_path: Path) -> None:
    early = session_bars(days=("2024-10-24",))
    early = closing(early, -23_400)
    whole = Bars(*(np.concatenate([getattr(each, n) for each in (early, TRUTH)]) for n in (
        "timestamp_s", "open", "high", "low", "close", "volume")))  # fmt: skip
    path = write_lines(tmp_path / "a.csv", [HEAD, *lines_of(whole)])
    assert read(path).interpretation.warnings["outside_session"] == 1
    reading = read(path, session="regular")
    assert_same(reading.bars, TRUTH)
    assert "78 bars outside of regular sessions dropped" in reading.interpretation.notes
    with pytest.raises(UsageError, match=r"--session regular needs an instrument"):
        read(path, None, session="regular")


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


@pytest.mark.parametrize("bar_seconds", [60, 900, 3600, 86_400])
def test_bars_of_another_length(tmp_path: Path, bar_seconds: int) -> None:
    day = np.arange(200, dtype=np.int64) * bar_seconds + 1_729_468_800
    bars = Bars(day, *(np.full(200, 58.0) for _ in range(5)))
    path = write_lines(tmp_path / "a.csv", [HEAD, *lines_of(bars)])
    with pytest.raises(DataError, match=r"wrong_bar_length: the rows are"):
        read(path, None)


def test_mixed_lengths(tmp_path: Path) -> None:
    hours = 1_729_468_800 + 3600 * np.arange(100, dtype=np.int64)
    fives = hours[-1] + 300 * np.arange(1, 400, dtype=np.int64)
    time = np.concatenate((hours, fives))
    bars = Bars(time, *(np.full(time.size, 58.0) for _ in range(5)))
    path = write_lines(tmp_path / "a.csv", [HEAD, *lines_of(bars)])
    with pytest.raises(DataError, match=r"row 0 .*wrong_bar_length: 16% of the rows, from here on"):
        read(path, None)


def test_a_thin_market_is_not_another_length(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    time = 1_729_468_800 + 300 * np.cumsum(rng.integers(1, 20, 600)).astype(np.int64)
    bars = Bars(time, *(np.full(600, 58.0) for _ in range(5)))
    path = write_lines(tmp_path / "a.csv", [HEAD, *lines_of(bars)])
    assert len(read(path, None).bars) == 600


def test_several_files_are_one_series(tmp_path: Path) -> None:
    lines = lines_of()
    folder = tmp_path / "TQQQ"
    folder.mkdir()
    write_lines(folder / "b.csv", [HEAD, *lines[:200]])
    write_lines(folder / "a.csv", [HEAD, *lines[190:]])
    for path in (folder, folder / "*.csv"):
        reading = read(path)
        assert_same(reading.bars, TRUTH)
        assert reading.interpretation.files == 2
        assert reading.interpretation.notes == ("10 bars in two files, equal",)
    write_lines(folder / "a.csv", [HEAD, lines[199].replace(",5", ",6"), *lines[200:]])
    with pytest.raises(DataError, match=r"b.csv and a.csv disagree about 1 bars, the first at"):
        read(folder)


def test_a_pattern_or_folder_without_files(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "*.csv"):
        with pytest.raises(UnreadableError, match=r"no files, expected files of bars"):
            read(path)


def test_the_statement_of_a_plain_file(bars_csv: Path) -> None:
    stated = read(bars_csv).interpretation
    assert stated.line("bars.csv") == (
        "bars.csv read as own columns; times UTC; stamped at the open (assumed); 468 5min bars "
        "2024-10-24 09:30-04:00 to 2024-11-04 15:55-05:00, 78 a session; warnings: missing_bars 1"
    )
    assert stated.to_dict()["options"] == {}


def test_everything_that_is_refused_is_an_error_of_the_user() -> None:
    assert issubclass(UsageError, TacticalError)
    assert UsageError.exit_code == 2


def test_dates_in_a_feather_file_need_no_option(tmp_path: Path) -> None:
    frame = pd.DataFrame({"date": pd.to_datetime(TRUTH.timestamp_s, unit="s", utc=True)})
    for name in HEAD.split(",")[1:]:
        frame[name] = getattr(TRUTH, name)
    frame.to_feather(tmp_path / "a.feather")
    assert_same(read(tmp_path / "a.feather").bars, TRUTH)
