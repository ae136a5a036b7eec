from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rllib_tactical.bench.reading import READERS, ReadingSize, _bars
from rllib_tactical.cli import bench as command
from rllib_tactical.data.files import write_bars
from rllib_tactical.errors import DataError

pytestmark = pytest.mark.slow

TINY = ReadingSize(bars=2_000, repetitions=1)


def test_the_reading_section_measures_every_row() -> None:
    rows = command.run_sections(("reading",), lambda text: None, {"reading": TINY})["reading"]
    assert [row.name for row in rows] == [
        "read and checked, 2,000 bars of CSV",
        "memory on top, 2,000 bars of CSV",
        "recognition, 2,000 bars of CSV",
    ]
    assert all(row.measurement.median > 0 for row in (rows[0], rows[2]))
    assert [other.name for other in rows[0].baselines] == ["pandas", "layout known"]
    assert rows[2].target == 50.0


@pytest.mark.parametrize("name", READERS)
def test_the_ways_to_read_give_the_same_bars(tmp_path: Path, name: str) -> None:
    bars = _bars(500)
    write_bars(bars, tmp_path / "bars.csv")
    found = READERS[name](tmp_path / "bars.csv")
    for each in ("timestamp_s", "open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(getattr(found, each), getattr(bars, each))


@pytest.mark.parametrize("name", READERS)
def test_each_way_refuses_wrong_bars(tmp_path: Path, name: str) -> None:
    bars = _bars(50)
    high = np.where(np.arange(50) == 7, 1.0, bars.high)
    write_bars(replace(bars, high=high), tmp_path / "bars.csv")
    with pytest.raises(DataError):
        READERS[name](tmp_path / "bars.csv")
