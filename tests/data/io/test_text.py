"""CSV text: its delimiter, its header and its rows, even and uneven."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from rllib_tactical.data.io.streams import Bytes
from rllib_tactical.data.io.text import TextTable, UnevenError
from rllib_tactical.errors import UnreadableError


def table(tmp_path: Path, data: str | bytes, block_bytes: int = 1 << 20) -> TextTable:
    path = tmp_path / "a.csv"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return TextTable(Bytes(path), block_bytes, 3)


def rows(found: list[pd.DataFrame]) -> list[list[str]]:
    return [row for piece in found for row in piece.to_numpy().tolist()]


def even(made: TextTable, *positions: int) -> list[list[str]]:
    return rows(list(made.pieces(positions, lambda share: None)))


def uneven(made: TextTable, *positions: int) -> tuple[list[list[str]], list[int]]:
    long: list[int] = []
    return rows(list(made.uneven_pieces(positions, lambda share: None, long))), long


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_header_and_cells(tmp_path: Path, delimiter: str, end: str) -> None:
    lines = [delimiter.join(row) for row in (("a ", "b", "c"), ("1", '"x y"', "3"), ("4", "", "6"))]
    made = table(tmp_path, end.join(lines) + end)
    assert (made.names, made.delimiter) == (("a", "b", "c"), delimiter)
    assert made.sample == [["a", "b", "c"], ["1", "x y", "3"], ["4", "", "6"]]
    assert even(made, 2, 1) == [["3", "x y"], ["6", ""]]
    assert uneven(made, 2, 1) == ([["3", "x y"], ["6", ""]], [])


@pytest.mark.parametrize("before", [b"\xef\xbb\xbf", b"\n\n", b"\r\n", b"\n" * 70_000])
def test_what_stands_before_the_header_is_skipped(tmp_path: Path, before: bytes) -> None:
    made = table(tmp_path, before + b"a,b\n1,2\n")
    assert made.names == ("a", "b")
    assert even(made, 0, 1) == [["1", "2"]]


def test_data_may_begin_at_another_row(tmp_path: Path) -> None:
    made = table(tmp_path, "title\nx,y\n1,2\n3,4\n")
    made.begin_at(2, ("x", "y"))
    assert even(made, 1) == [["2"], ["4"]]
    headless = table(tmp_path, "1,2\n3,4\n")
    headless.begin_at(0, ("p", "q"))
    assert even(headless, 0) == [["1"], ["3"]]


def test_uneven_rows_are_found_out_and_read_slowly(tmp_path: Path) -> None:
    made = table(tmp_path, "a,b\n1,2\n3\n4,5,6\n7,8,\n")
    with pytest.raises(UnevenError):
        even(made, 0, 1)
    found, long = uneven(made, 0, 1)
    # short rows are filled up, surplus cells joined; an empty one behind the last is none
    assert found == [["1", "2"], ["3", ""], ["4", "5,6"], ["7", "8"]]
    assert long == [2]


def test_bytes_that_are_not_utf_8_are_marked(tmp_path: Path) -> None:
    made = table(tmp_path, b"a,b\n1,\xff\n")
    with pytest.raises(UnevenError):
        even(made, 0, 1)
    assert uneven(made, 1)[0] == [["\N{REPLACEMENT CHARACTER}"]]


@pytest.mark.parametrize("data", [b"", b"\n\n", b"   \n"])
def test_a_file_without_text_has_no_columns(tmp_path: Path, data: bytes) -> None:
    made = table(tmp_path, data)
    assert made.names == ()
    assert even(made) == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a,b\n\x00\x01", "binary content, expected .csv"),
        (b"\xfa\xfb,b\n", "the header is not UTF-8 text"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(UnreadableError, match=message):
        table(tmp_path, data)


def test_a_header_longer_than_the_first_bytes_is_read_whole(tmp_path: Path) -> None:
    names = [f"column {number}" for number in range(9_000)]
    made = table(tmp_path, ",".join(names) + "\n" + ",".join(["1"] * 9_000) + "\n")
    assert made.names == tuple(names)
    assert even(made, 8_999) == [["1"]]
