"""Small tables of bars that the tests of this folder break on purpose."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rllib_tactical.data.interpret.series import read_series
from rllib_tactical.data.io.columns import Columns, ColumnsBuilder
from rllib_tactical.data.io.layout import Layout
from rllib_tactical.data.io.parse import BAR_COLUMNS
from rllib_tactical.domain.types import Bars

START_S = 1_641_168_000  # 2022-01-03T00:00:00Z, a Monday
NOW_S = 1_900_000_000.0


def walk(
    rows: int, *, start_s: int = START_S, bar_seconds: int = 300, seed: int = 0
) -> dict[str, np.ndarray]:
    """Return a random walk of bars by column, without anything a check would remark on."""
    rng = np.random.default_rng(seed)
    close = np.round(100.0 * np.exp(np.cumsum(rng.normal(0.0, 1e-3, rows))), 2)
    opened = np.concatenate(([100.0], close))[:rows]
    return {
        "timestamp": start_s + bar_seconds * np.arange(rows, dtype=np.int64),
        "open": opened,
        "high": np.round(np.maximum(opened, close) * 1.0005, 2),
        "low": np.round(np.minimum(opened, close) * 0.9995, 2),
        "close": close,
        "volume": rng.integers(1, 1000, rows).astype(np.float64),
    }


def walk_frame(rows: int = 40, *, bar_seconds: int = 300) -> pd.DataFrame:
    return pd.DataFrame(walk(rows, bar_seconds=bar_seconds))


def walk_bars(rows: int = 40, *, start_s: int = START_S, bar_seconds: int = 300) -> Bars:
    columns = walk(rows, start_s=start_s, bar_seconds=bar_seconds)
    return Bars(columns.pop("timestamp"), *columns.values())


def plain_layout(names: tuple[str, ...], required: tuple[str, ...] = BAR_COLUMNS) -> Layout:
    """Return the layout of a table that calls its columns what they are, in any case and order."""
    keys = [name.strip().lower() for name in names]
    count = Counter(keys)
    return Layout(
        names=names,
        required=required,
        positions={name: keys.index(name) for name in required if count[name] > 0},
        missing=tuple(name for name in required if count[name] == 0),
        repeated=tuple(name for name in required if count[name] > 1),
    )


def columns_of(frame: pd.DataFrame, required: tuple[str, ...] = BAR_COLUMNS) -> Columns:
    """Parse a table in one piece, as reading a file does in many."""
    builder = ColumnsBuilder(plain_layout(tuple(str(name) for name in frame.columns), required))
    builder.add(frame.iloc[:, list(builder.positions)])
    return builder.build()


def read_columns(path: str | Path, **how: Any) -> Columns:
    return read_series(Path(path), **how).columns


def times_bars(time_s: np.ndarray) -> Bars:
    columns = walk(len(time_s))
    columns["timestamp"] = np.asarray(time_s, dtype=np.int64)
    return Bars(columns.pop("timestamp"), *columns.values())
