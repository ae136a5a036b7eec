"""Columns of an open file in pieces, the fast way and row by row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rllib_tactical.data.io.reading import columns_of
from rllib_tactical.data.io.scan import Scan
from tests.data.tables import plain_layout, walk, walk_frame


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
