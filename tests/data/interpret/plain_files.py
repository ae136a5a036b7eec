"""Bars of two weeks as lines of files that no program wrote, and reading them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rllib_tactical.data.instruments import load_instrument
from rllib_tactical.data.interpret.options import ReadOptions
from rllib_tactical.data.interpret.read import Reading, read_interpreted
from rllib_tactical.domain.types import Bars, Instrument
from tests.data.interpret.layouts import NEW_YORK, rows_of, session_bars

TRUTH = session_bars()
TQQQ = load_instrument("TQQQ")
HEAD = "timestamp,open,high,low,close,volume"


def assert_same(found: Bars, truth: Bars) -> None:
    for name in ("timestamp_s", "open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(getattr(found, name), getattr(truth, name), err_msg=name)


def lines_of(bars: Bars = TRUTH, time: str = "%Y-%m-%dT%H:%M:%SZ") -> list[str]:
    return [f"{r.time:{time}},{','.join(r.prices)},{r.volume}" for r in rows_of(bars)]


def local_lines(bars: Bars = TRUTH) -> list[str]:
    return [
        f"{r.time.astimezone(NEW_YORK):%Y-%m-%d %H:%M:%S},{','.join(r.prices)},{r.volume}"
        for r in rows_of(bars)
    ]


def read(path: Path, instrument: Instrument | None = TQQQ, **options: Any) -> Reading:
    return read_interpreted(path, ReadOptions(**options), instrument)
