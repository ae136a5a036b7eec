from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from rllib_tactical.data.quality.findings import ERROR_RULES, CheckReport
from rllib_tactical.data.quality.rules import check_columns
from rllib_tactical.errors import UsageError
from tests.data.tables import NOW_S, START_S, columns_of, walk_frame


def check(frame: pd.DataFrame, **options: object) -> CheckReport:
    return check_columns(columns_of(frame), now_s=NOW_S, **options)  # type: ignore[arg-type]


def cell(column: str, row: int, value: Any) -> Callable[[pd.DataFrame], None]:
    def change(frame: pd.DataFrame) -> None:
        frame.loc[row, column] = value

    return change


def text_cell(column: str, row: int, value: str) -> Callable[[pd.DataFrame], None]:
    def change(frame: pd.DataFrame) -> None:
        frame[column] = frame[column].astype(str)
        frame.loc[row, column] = value

    return change


ERRORS = {
    "unparsable number": (text_cell("close", 7, "oops"), "unparsable_cell", 7),
    "decimal comma": (text_cell("close", 7, "1,5"), "unparsable_cell", 7),
    "unparsable time": (text_cell("timestamp", 7, "yesterday"), "unparsable_cell", 7),
    "the word now": (text_cell("timestamp", 7, "now"), "unparsable_cell", 7),
    "empty time": (text_cell("timestamp", 7, ""), "unparsable_cell", 7),
    "far year": (text_cell("timestamp", 7, "300000-01-01T00:00:00Z"), "unparsable_cell", 7),
    "nan": (cell("open", 3, np.nan), "not_finite", 3),
    "empty": (text_cell("open", 3, ""), "not_finite", 3),
    "word nan": (text_cell("open", 3, " NaN "), "not_finite", 3),
    "inf": (cell("volume", 3, np.inf), "not_finite", 3),
    "word inf": (text_cell("high", 3, "-Infinity"), "not_finite", 3),
    "giant number": (text_cell("high", 3, "1e999"), "not_finite", 3),
    "zero price": (cell("low", 4, 0.0), "price_not_positive", 4),
    "negative price": (cell("low", 4, -1.0), "price_not_positive", 4),
    "high": (cell("high", 5, 1.0), "high_too_low", 5),
    "low": (cell("low", 5, 1000.0), "low_too_high", 5),
    "volume": (cell("volume", 6, -1.0), "negative_volume", 6),
    "duplicate": (cell("timestamp", 9, START_S + 300 * 8), "duplicate_timestamp", 9),
    "order": (cell("timestamp", 9, START_S - 300), "out_of_order", 9),
    "grid": (cell("timestamp", 9, START_S + 300 * 9 + 1), "off_grid", 9),
    "future": (cell("timestamp", 39, 2_000_000_100), "in_future", 39),
    "far future": (cell("timestamp", 39, 9_400_000_000_000), "in_future", 39),
}


@pytest.mark.parametrize("case", ERRORS)
def test_each_error_rule_names_rule_and_row(case: str) -> None:
    change, rule, row = ERRORS[case]
    frame = walk_frame()
    change(frame)
    report = check(frame)
    errors = [(f.rule, f.row) for f in report.findings if f.severity == "error"]
    assert errors == [(rule, row)]
    assert report.errors == report.counts[rule] == 1


def test_clean_bars_have_no_findings() -> None:
    report = check(walk_frame(600))
    assert report.findings == ()
    assert (report.rows, report.errors, report.warnings, report.truncated) == (600, 0, 0, False)


def test_missing_and_repeated_columns_are_named() -> None:
    frame = walk_frame().drop(columns="volume")
    (finding,) = check(frame).findings
    assert (finding.rule, finding.row) == ("missing_column", None)
    assert "'volume'" in finding.message and "timestamp, open" in finding.message
    twice = pd.concat([walk_frame(), walk_frame()[["open"]]], axis=1)
    assert check(twice).counts == {"duplicate_column": 1}


def test_empty_file_with_and_without_a_header() -> None:
    assert check(pd.DataFrame()).counts == {"empty_file": 1}
    assert check(walk_frame().iloc[:0]).counts == {"empty_file": 1}


def test_column_names_in_any_case_and_order_and_extra_columns() -> None:
    frame = walk_frame()[["volume", "close", "low", "high", "open", "timestamp"]]
    frame = frame.rename(columns={"open": " Open", "timestamp": "TIMESTAMP"}).assign(note="x")
    assert check(frame).counts == {}


def test_one_bad_cell_causes_no_second_finding() -> None:
    frame = walk_frame()
    frame.loc[3, ["open", "high", "low", "close"]] = np.nan
    assert check(frame).counts == {"not_finite": 4, "missing_bars": 1}


def test_every_duplicate_is_found_wherever_it_stands() -> None:
    frame = walk_frame()
    frame = pd.concat([frame, frame.iloc[[2, 5]]], ignore_index=True)
    report = check(frame)
    rows = [f.row for f in report.findings if f.rule == "duplicate_timestamp"]
    assert rows == [40, 41]
    assert report.counts["out_of_order"] == 1


@pytest.mark.parametrize("scale", [1, 1000, 1_000_000, 1_000_000_000])
@pytest.mark.parametrize("as_text", [False, True])
def test_epoch_units(scale: int, as_text: bool) -> None:
    frame = walk_frame()
    frame["timestamp"] *= scale
    if as_text:
        frame["timestamp"] = frame["timestamp"].astype(str)
    assert check(frame).counts == {}


def test_iso_spellings_of_one_time_are_the_same() -> None:
    spellings = [
        "2022-01-03T00:00:00Z",
        "2022-01-03 00:05:00+00:00",
        "2022-01-02T19:10:00-05:00",
        "2022-01-03T01:15:00+0100",
        " 2022-01-03T00:20Z ",
        "2022-01-03T00:25:00.000000Z",
        str(START_S + 1800),
    ]
    frame = walk_frame(7).assign(timestamp=spellings)
    assert check(frame).counts == {}


def test_negative_epochs_are_times_before_1970() -> None:
    frame = walk_frame()
    frame["timestamp"] -= START_S + 300 * 1000
    assert check(frame).counts == {}


def test_fractions_of_a_second_are_off_grid() -> None:
    frame = walk_frame(3).assign(
        timestamp=["2022-01-03T00:00:00Z", "2022-01-03T00:05:00.5Z", "2022-01-03T00:10:00Z"]
    )
    assert [f.row for f in check(frame).findings if f.rule == "off_grid"] == [1]


@pytest.mark.parametrize(
    "values",
    [
        pd.Series([True] * 3),
        pd.Series([[1.0], [2.0], [3.0]]),
        pd.Series([{"a": 1}] * 3),
        pd.Series([1j, 2j, 3j]),
        pd.Series([b"x", object(), None]),
        pd.Series(pd.to_timedelta([1, 2, 3], unit="s")),
        pd.Series(["a", "b", "c"], dtype="category"),
    ],
)
def test_columns_of_foreign_types_are_findings_not_crashes(values: pd.Series) -> None:
    for column in ("close", "timestamp"):
        frame = walk_frame(3)
        frame[column] = values
        assert check(frame).errors >= 2


def test_bar_length_must_tile_a_day() -> None:
    with pytest.raises(UsageError, match="7 s"):
        check(walk_frame(), bar_seconds=7)


def test_categories_mixed_objects_and_arrow_types_are_read() -> None:
    frame = walk_frame(4)
    moments = pd.to_datetime(frame["timestamp"], unit="s", utc=True)
    for times in (
        moments.astype(pd.ArrowDtype(pa.timestamp("us", tz="UTC"))),
        moments.dt.strftime("%Y-%m-%dT%H:%M:%SZ").astype("category"),
        frame["timestamp"].astype("Int64"),
        pd.Series([str(START_S), f"{START_S + 300}.0", START_S + 600, moments[3]], dtype=object),
    ):
        changed = frame.assign(timestamp=times, close=frame["close"].astype(str).astype("category"))
        assert check(changed).counts == {}


def test_an_odd_size_in_an_epoch_column_is_in_the_future_not_another_unit() -> None:
    frame = walk_frame()
    frame["timestamp"] = frame["timestamp"].astype(str)
    frame.loc[39, "timestamp"] = "99999999999999999999999"
    assert check(frame).counts == {"in_future": 1}
    frame.loc[39, "timestamp"] = "-99999999999999999999999"
    assert check(frame).counts == {"unparsable_cell": 1}


def test_every_error_rule_has_a_case() -> None:
    covered = {rule for _, rule, _ in ERRORS.values()}
    of_files = {"empty_file", "missing_column", "duplicate_column", "wrong_bar_length"}
    of_files |= {"wrong_zone", "price_scale", "long_row", "impossible_time"}
    assert covered | of_files == set(ERROR_RULES)
