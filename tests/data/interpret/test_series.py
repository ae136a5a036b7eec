"""What is recognized, assumed and refused about files that no program wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rllib_tactical.data.interpret.options import ReadOptions
from rllib_tactical.data.interpret.read import read_interpreted
from rllib_tactical.domain.types import Bars
from rllib_tactical.errors import DataError, TacticalError, UnreadableError, UsageError
from tests.data.interpret.layouts import session_bars, write_lines
from tests.data.interpret.plain_files import (
    HEAD,
    TQQQ,
    TRUTH,
    assert_same,
    lines_of,
    local_lines,
    read,
)


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


def test_everything_that_is_refused_is_an_error_of_the_user() -> None:
    assert issubclass(UsageError, TacticalError)
    assert UsageError.exit_code == 2
