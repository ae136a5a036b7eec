"""Small tables of bars that the tests of this folder break on purpose."""

from __future__ import annotations

import numpy as np
import pandas as pd

from rllib_tactical.data.io.columns import Columns, ColumnsBuilder
from rllib_tactical.data.io.parse import BAR_COLUMNS
from rllib_tactical.domain.types import Bars

START_S = 1_641_168_000  # 2022-01-03T00:00:00Z, a Monday
NOW_S = 1_900_000_000.0


def walk(
    rows: int, *, start_s: int = START_S, bar_seconds: int = 300, seed: int = 0
) -> dict[str, np.ndarray]:
    """Return a random walk of bars by column, without anything a check would remark on."""
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 1e-3, rows)))
    opened = np.concatenate(([100.0], close))[:rows]
    return {
        "timestamp": start_s + bar_seconds * np.arange(rows, dtype=np.int64),
        "open": opened,
        "high": np.maximum(opened, close) * 1.0005,
        "low": np.minimum(opened, close) * 0.9995,
        "close": close,
        "volume": rng.integers(1, 1000, rows).astype(np.float64),
    }


def walk_frame(rows: int = 40, *, bar_seconds: int = 300) -> pd.DataFrame:
    return pd.DataFrame(walk(rows, bar_seconds=bar_seconds))


def walk_bars(rows: int = 40, *, start_s: int = START_S, bar_seconds: int = 300) -> Bars:
    columns = walk(rows, start_s=start_s, bar_seconds=bar_seconds)
    return Bars(columns.pop("timestamp"), *columns.values())


def columns_of(frame: pd.DataFrame, required: tuple[str, ...] = BAR_COLUMNS) -> Columns:
    """Parse a table in one piece, as reading a file does in many."""
    builder = ColumnsBuilder(tuple(str(name) for name in frame.columns), required)
    builder.add(frame.iloc[:, list(builder.positions)])
    return builder.build()


def times_bars(time_s: np.ndarray) -> Bars:
    columns = walk(len(time_s))
    columns["timestamp"] = np.asarray(time_s, dtype=np.int64)
    return Bars(columns.pop("timestamp"), *columns.values())
