"""Tables that are no text: their columns by position, their sample, and JSON of two kinds."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from rllib_tactical.data.io.streams import Bytes
from rllib_tactical.data.io.tables import ArrowTable, json_table
from rllib_tactical.errors import UnreadableError

FRAME = pd.DataFrame({"b": range(10), "a": [f"t{k}" for k in range(10)], "c": [0.5] * 10})


def pieces(table: ArrowTable, *positions: int) -> tuple[list[int], pd.DataFrame, list[float]]:
    """Return the lengths of the pieces, all of them together, and the shares read."""
    seen: list[float] = []
    found = list(table.pieces(positions, seen.append))
    return [len(piece) for piece in found], pd.concat(found, ignore_index=True), seen


@pytest.mark.parametrize("suffix", ["parquet", "feather"])
def test_columns_come_by_their_position_in_any_order(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    FRAME.to_parquet(path, index=False) if suffix == "parquet" else FRAME.to_feather(path)
    with ExitStack() as stack:
        table = ArrowTable.open(Bytes(path), 4, stack)
        assert table.names == ("b", "a", "c")
        assert table.sample[1] == ["1", "t1", "0.5"]
        lengths, found, seen = pieces(table, 2, 0)
        assert lengths == [4, 4, 2]
        assert found[0].tolist() == [0.5] * 10
        assert found[1].tolist() == list(range(10))
        assert seen == ([0.4, 0.8, 1.0] if suffix == "parquet" else [0.0] * 3)
        assert pieces(table, 1)[1][0].tolist() == FRAME["a"].tolist()  # once more


def test_a_name_that_is_there_twice_is_told_apart_by_its_position(tmp_path: Path) -> None:
    table = pa.table([pa.array([1, 2]), pa.array([3, 4])], names=["x", "x"])
    pa.parquet.write_table(table, tmp_path / "a.parquet")
    with ExitStack() as stack:
        opened = ArrowTable.open(Bytes(tmp_path / "a.parquet"), 9, stack)
        assert pieces(opened, 1)[1][0].tolist() == [3, 4]
        assert pieces(opened, 0)[1][0].tolist() == [1, 2]


def test_damaged_content_is_an_error_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    FRAME.to_parquet(path)
    path.write_bytes(path.read_bytes()[:-20])
    with ExitStack() as stack, pytest.raises(UnreadableError, match="damaged parquet file"):
        ArrowTable.open(Bytes(path), 4, stack)


def of_json(tmp_path: Path, rows: Any, block_rows: int = 100) -> ArrowTable:
    (tmp_path / "a.json").write_text(rows if isinstance(rows, str) else json.dumps(rows))
    return json_table(Bytes(tmp_path / "a.json"), block_rows)


def test_lists_have_numbers_for_names_and_objects_their_keys(tmp_path: Path) -> None:
    lists = of_json(tmp_path, [[1, 2.5], [3, 4.5], [5, 6.5]], block_rows=2)
    assert lists.names == ("0", "1")
    lengths, found, _ = pieces(lists, 1)
    assert lengths == [2, 1]
    assert found[0].tolist() == [2.5, 4.5, 6.5]
    objects = of_json(tmp_path, [{"t": 1, "c": 2}, {"t": 3}])
    assert objects.names == ("t", "c")
    assert pieces(objects, 1)[1][0].isna().tolist() == [False, True]


def test_a_column_of_numbers_and_text_is_read_as_text(tmp_path: Path) -> None:
    table = of_json(tmp_path, [[1, 2], [3, "x"]])
    assert pieces(table, 1)[1][0].tolist() == ["2", "x"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ('[{"a": 1', "damaged text file"),
        ({"a": 1}, "must be a list of rows"),
        ([], "must be a list of rows"),
        ([[1], {"a": 1}], "must be a list of rows"),
        ([[1, 2], [3]], "objects, or lists of equal length"),
        ([1, 2], "objects, or lists of equal length"),
    ],
)
def test_other_json_is_refused(tmp_path: Path, rows: Any, message: str) -> None:
    with pytest.raises(UnreadableError, match=message):
        of_json(tmp_path, rows)
