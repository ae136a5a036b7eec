"""From files to bars without errors, with what was found on the way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rllib_tactical.data.interpret.options import ReadOptions
from rllib_tactical.data.interpret.read import read_interpreted
from rllib_tactical.errors import DataError, UsageError
from tests.data.interpret.layouts import write_lines
from tests.data.interpret.plain_files import HEAD, TQQQ, TRUTH, assert_same, lines_of

NOW_S = 1_800_000_000.0


def test_bars_their_statement_and_the_report_come_together(bars_csv: Path) -> None:
    found = read_interpreted(bars_csv, ReadOptions(), TQQQ, now_s=NOW_S)
    assert_same(found.bars, TRUTH)
    assert found.interpretation.bars == found.report.rows == len(TRUTH)
    assert found.interpretation.warnings == found.report.warning_counts == {"missing_bars": 1}


def test_errors_of_the_data_are_refused_with_file_rule_and_row(tmp_path: Path) -> None:
    lines = lines_of()
    path = write_lines(tmp_path / "bad.csv", [HEAD, *lines[:5], lines[4], *lines[5:]])
    with pytest.raises(DataError, match=r"bad\.csv: 1 error[\s\S]*row 5 .*duplicate_timestamp"):
        read_interpreted(path, instrument=TQQQ, now_s=NOW_S)


def test_bars_of_the_future_are_refused_by_the_given_clock(bars_csv: Path) -> None:
    before = float(TRUTH.timestamp_s[10])
    with pytest.raises(DataError, match="future"):
        read_interpreted(bars_csv, instrument=TQQQ, now_s=before)


def test_a_length_that_does_not_tile_a_day_is_refused_before_the_file_is_read(
    tmp_path: Path,
) -> None:
    with pytest.raises(UsageError, match="day"):
        read_interpreted(tmp_path / "missing.csv", bar_seconds=7)


def test_progress_ends_with_the_whole_file(bars_csv: Path) -> None:
    seen: list[float] = []
    read_interpreted(bars_csv, instrument=TQQQ, update=lambda what, share: seen.append(share))
    assert seen[-1] == 1.0
    assert (np.diff(seen) >= 0).all()
