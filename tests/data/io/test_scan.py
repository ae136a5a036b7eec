from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from rllib_tactical.data.files import write_bars
from rllib_tactical.data.io.columns import Columns
from rllib_tactical.data.quality.repair import repair_columns
from rllib_tactical.data.quality.rules import check_columns
from rllib_tactical.data.resample import import_columns
from rllib_tactical.errors import DataError
from tests.data.tables import NOW_S, read_columns, walk_bars, walk_frame

ROWS = 400


def iso(frame: pd.DataFrame) -> None:
    frame["timestamp"] = pd.to_datetime(frame["timestamp"], unit="s", utc=True).dt.strftime(
        "%Y-%m-%dT%H:%M:%SZ"
    )


def faults(frame: pd.DataFrame) -> None:
    """Break most rules, early and late, so that every block has findings of its own."""
    iso(frame)
    for name in ("open", "high", "close", "volume"):
        frame[name] = frame[name].astype(str)
    for row in (3, 150, 390):
        frame.loc[row, "open"] = "oops"
        frame.loc[row + 1, "volume"] = ""
        frame.loc[row + 2, "high"] = "inf"
        frame.loc[row + 3, "close"] = " 1e3 "
        frame.loc[row + 4, "timestamp"] = "yesterday"
    frame.loc[200, "timestamp"] = frame["timestamp"][10]
    frame.loc[201, "timestamp"] = "2022-01-03 05:00"
    frame.loc[202, "timestamp"] = "2022-01-03T05:00:01+00:00"


def few_seconds_many_millis(frame: pd.DataFrame) -> None:
    """Let the first cells look like seconds: the unit is the whole column's."""
    frame["timestamp"] = frame["timestamp"] * 1000
    frame.loc[:3, "timestamp"] //= 1000


def dates_and_numbers(frame: pd.DataFrame) -> None:
    numbers = frame["timestamp"].astype(str)
    iso(frame)
    frame.loc[100:250, "timestamp"] = numbers[100:250]
    frame.loc[130, "timestamp"] = "1641207000.5"
    frame.loc[140, "timestamp"] = "-1e300"


CHANGES: dict[str, Callable[[pd.DataFrame], None]] = {
    "clean": iso,
    "epoch": lambda frame: None,
    "faults": faults,
    "units": few_seconds_many_millis,
    "mixed times": dates_and_numbers,
}


def same(one: Columns, other: Columns) -> None:
    assert (one.rows, one.missing, one.repeated) == (other.rows, other.missing, other.repeated)
    for name in one.numbers:
        np.testing.assert_array_equal(one.numbers[name].values, other.numbers[name].values)
        np.testing.assert_array_equal(one.numbers[name].bad, other.numbers[name].bad)
    assert one.timestamps is not None and other.timestamps is not None
    for name in ("micros", "bad", "naive"):
        np.testing.assert_array_equal(
            getattr(one.timestamps, name), getattr(other.timestamps, name)
        )
    assert check_columns(one, now_s=NOW_S) == check_columns(other, now_s=NOW_S)
    fixed, changes = repair_columns(one, now_s=NOW_S)
    again, others = repair_columns(other, now_s=NOW_S)
    assert_frame_equal(fixed, again)
    assert changes == others


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "uneven.csv", "parquet", "feather"])
def test_blocks_make_no_difference(tmp_path: Path, suffix: str, change: str) -> None:
    frame = walk_frame(ROWS)
    CHANGES[change](frame)
    path = tmp_path / f"a.{suffix}"
    if suffix == "parquet":
        frame.to_parquet(path, index=False, row_group_size=90)
    elif suffix == "feather":
        frame.to_feather(path)
    else:
        frame.to_csv(path, index=False)
    if suffix == "uneven.csv":
        # Only the last row shows that the fast reader will not do.
        path.write_bytes(path.read_bytes() + b"2022-01-10T00:00:00Z,1,1\n")
    whole = read_columns(path)
    assert whole.rows == ROWS + (suffix == "uneven.csv")
    for block_bytes, block_rows in ((512, 7), (4096, 64), (1 << 20, ROWS)):
        same(whole, read_columns(path, block_bytes=block_bytes, block_rows=block_rows))


def test_a_row_longer_than_a_block_is_read_slowly_not_refused(tmp_path: Path) -> None:
    text = walk_frame(20).to_csv(index=False)
    (tmp_path / "a.csv").write_text(text.replace("\n", "," + "x" * 3000 + "\n", 5))
    assert read_columns(tmp_path / "a.csv", block_bytes=512).rows == 20


def test_import_of_columns_names_what_is_wrong(tmp_path: Path) -> None:
    walk_frame(ROWS).drop(columns="close").to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(DataError, match="column 'close' is required"):
        import_columns(read_columns(tmp_path / "a.csv"))


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_memory_is_bounded_by_the_rows(tmp_path: Path, project_root: Path, suffix: str) -> None:
    def peak_bytes(rows: int) -> int:
        path = tmp_path / f"{rows}.{suffix}"
        write_bars(walk_bars(rows, start_s=1_000_000_200), path)
        code = (
            "import resource, sys; from click.testing import CliRunner;"
            "from rllib_tactical.cli.data import data_group;"
            "assert CliRunner().invoke(data_group, ['check', sys.argv[1]]).exit_code == 0;"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        command = [sys.executable, "-c", code, str(path)]
        done = subprocess.run(command, cwd=project_root, capture_output=True, text=True, check=True)
        return int(done.stdout) * 1024

    # A row of CSV text alone is about 100 bytes; documented are 300 a row for everything.
    assert peak_bytes(600_000) - peak_bytes(1000) < 300 * 600_000
