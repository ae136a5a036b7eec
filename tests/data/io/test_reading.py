"""Columns of an open file in pieces: numbers parsed at once, as text, and row by row."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rllib_tactical.data.io import reading
from rllib_tactical.data.io.columns import Columns, ColumnsBuilder
from rllib_tactical.data.io.layout import Layout
from rllib_tactical.data.io.reading import columns_of
from rllib_tactical.data.io.scan import NotNumbersError, Scan
from rllib_tactical.data.quality.rules import check_columns
from tests.data.tables import NOW_S, plain_layout, walk, walk_frame

NAMES = ("timestamp", "open", "high", "low", "close", "volume")
NUMBERS = (1, 2, 3, 4, 5)


@pytest.mark.parametrize("surplus", ["", ",surplus"])
def test_what_is_read_is_what_was_written_also_row_by_row(tmp_path: Path, surplus: str) -> None:
    path = tmp_path / "a.csv"
    text = walk_frame(300).to_csv(index=False).splitlines()
    text[-1] += surplus  # the fast reader meets it after it has given the other rows
    path.write_text("\n".join(text))
    with Scan(path, block_bytes=1_000, block_rows=50) as scan:
        seen: list[float] = []
        found = columns_of(scan, plain_layout(scan.names), seen.append)
    assert found.rows == 300
    expected = walk(300)
    assert found.timestamps is not None
    np.testing.assert_array_equal(found.timestamps.micros, expected["timestamp"] * 1_000_000)
    for name in ("open", "high", "low", "close"):
        np.testing.assert_array_equal(found.numbers[name].values, expected[name])
    assert found.long_rows is None or found.long_rows.tolist() == ([299] if surplus else [])
    assert bool(surplus) is (found.long_rows is not None and found.long_rows.size > 0)
    assert len(seen) > 3
    assert seen[-1] == 1.0


def test_columns_that_are_not_asked_for_are_not_read(tmp_path: Path) -> None:
    frame = walk_frame(30)
    frame.insert(1, "note", "text")
    frame.to_parquet(tmp_path / "a.parquet", index=False)
    with Scan(tmp_path / "a.parquet") as scan:
        found = columns_of(scan, plain_layout(scan.names), lambda share: None)
    assert set(found.numbers) == {"open", "high", "low", "close", "volume"}
    np.testing.assert_array_equal(found.numbers["open"].values, walk(30)["open"])


@pytest.mark.parametrize(
    ("cell", "value", "bad"),
    [
        (" 101.5 ", 101.5, False),
        ("1.015e2", 101.5, False),
        ("", np.nan, False),
        ("NaN", np.nan, False),
        ("inf", np.inf, False),
        ("oops", np.nan, True),
    ],
)
def test_numbers_are_the_same_whether_parsed_at_once_or_as_text(
    tmp_path: Path, cell: str, value: float, bad: bool
) -> None:
    frame = walk_frame(400).astype(str)
    frame.loc[333, "close"] = cell
    path = tmp_path / "bars.csv"
    frame.to_csv(path, index=False)
    for block in (0, 2_000):
        with Scan(path, block) as scan:
            found = columns_of(scan, plain_layout(NAMES), lambda share: None)
        close = found.numbers["close"]
        np.testing.assert_equal(close.values[333], value)
        assert (bool(close.bad[333]), int(close.bad.sum())) == (bad, int(bad))
        assert found.rows == 400
        if not np.isfinite(value):
            assert found.raw["close"].to_dict() == {333: cell}


def test_a_cell_that_is_no_number_is_told_apart_from_an_uneven_row(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    for cell, error in (("oops", NotNumbersError), ("inf", NotNumbersError)):
        frame = walk_frame().astype(str)
        frame.loc[7, "close"] = cell
        frame.to_csv(path, index=False)
        with Scan(path) as scan, pytest.raises(error):
            list(scan.pieces((0, *NUMBERS), lambda share: None, NUMBERS))
        with Scan(path) as scan:
            assert list(scan.pieces((0, *NUMBERS), lambda share: None))


def test_a_long_row_behind_wrong_numbers_is_found(tmp_path: Path) -> None:
    frame = walk_frame().astype(str)
    frame.loc[3, "close"] = "oops"
    lines = frame.to_csv(index=False).splitlines()
    lines[9] += ",7"
    path = tmp_path / "bars.csv"
    path.write_text("\n".join(lines))
    with Scan(path) as scan:
        found = columns_of(scan, plain_layout(NAMES), lambda share: None)
    assert found.long_rows is not None and found.long_rows.tolist() == [8]
    assert np.flatnonzero(found.numbers["close"].bad).tolist() == [3]


CELLS = st.one_of(
    st.floats().map(repr),
    st.floats(1, 1e4).map(lambda value: f"{value:.2f}"),
    st.integers(-(10**25), 10**25).map(str),
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.from_regex(r"[ ]?[+-]?[0-9]{0,20}\.?[0-9]{0,25}([eE][+-]?[0-9]{1,3})?[ ]?", fullmatch=True),
    st.sampled_from(
        [
            "",
            " ",
            "nan",
            "NaN",
            "NULL",
            "inf",
            "-Infinity",
            "1e999",
            "-0",
            "0x10",
            "1_0",
            "1,5",
            "x",
        ]
    ),
)


@pytest.mark.slow
@given(
    cells=st.lists(st.tuples(st.integers(0, 59), st.sampled_from(NUMBERS), CELLS), max_size=8),
    block=st.sampled_from([0, 300, 900]),
    quoted=st.booleans(),
)
def test_numbers_parsed_at_once_are_those_of_the_text_bit_for_bit(
    cells: list[tuple[int, int, str]], block: int, quoted: bool
) -> None:
    frame = walk_frame(60).astype(str)
    for row, column, cell in cells:
        frame.iloc[row, column] = cell
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "bars.csv"
        text = (
            frame.to_csv(index=False, quoting=csv.QUOTE_ALL)
            if quoted
            else frame.to_csv(index=False)
        )
        path.write_text(text, encoding="utf-8")
        fast = _columns(path, block)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reading, "_built", _as_text)
            slow = _columns(path, block)
    for role, found in fast.numbers.items():
        expected = slow.numbers[role]
        assert found.values.dtype == expected.values.dtype == np.float64
        assert found.values.tobytes() == expected.values.tobytes()
        assert found.bad.tolist() == expected.bad.tolist()
    for role, cells_kept in fast.raw.items():
        assert cells_kept.to_dict() == slow.raw[role].to_dict()
    assert (fast.rows, fast.long_rows) == (slow.rows, slow.long_rows)
    reports = [check_columns(each, now_s=NOW_S) for each in (fast, slow)]
    assert reports[0].findings == reports[1].findings


BUILT = reading._built


def _as_text(
    layout: Layout, scan: Scan, share: Callable[[float], None], *, as_numbers: bool
) -> ColumnsBuilder:
    return BUILT(layout, scan, share, as_numbers=False)


def _columns(path: Path, block: int) -> Columns:
    with Scan(path, block) if block else Scan(path) as scan:
        return columns_of(scan, plain_layout(NAMES), lambda share: None)


@pytest.mark.parametrize("cell", ["7.5", "oops"])
def test_numbers_are_parsed_once_where_all_are_plain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cell: str
) -> None:
    frame = walk_frame(60).astype(str)
    frame.loc[7, "close"] = cell
    frame.to_csv(tmp_path / "bars.csv", index=False)
    tried: list[bool] = []

    def built(
        layout: Layout, scan: Scan, share: Callable[[float], None], *, as_numbers: bool
    ) -> ColumnsBuilder:
        tried.append(as_numbers)
        return BUILT(layout, scan, share, as_numbers=as_numbers)

    monkeypatch.setattr(reading, "_built", built)
    _columns(tmp_path / "bars.csv", 0)
    assert tried == ([True] if cell == "7.5" else [True, False])
