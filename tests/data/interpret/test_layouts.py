"""Every source's files give the bars that they were made from, bit for bit."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from rllib_tactical.bench.reading import MAX_RECOGNITION_MS
from rllib_tactical.data.instruments import load_instrument
from rllib_tactical.data.interpret.formats import FORMATS
from rllib_tactical.data.interpret.options import ReadOptions
from rllib_tactical.data.interpret.read import read_interpreted
from rllib_tactical.data.interpret.recognize import recognize
from rllib_tactical.data.io.scan import Scan
from rllib_tactical.domain.types import Bars
from rllib_tactical.errors import DataError, UsageError
from tests.data.interpret.layouts import LAYOUTS, session_bars

TRUTH = session_bars()
TQQQ = load_instrument("TQQQ")


def assert_same(found: Bars, truth: Bars) -> None:
    for name in ("timestamp_s", "open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(getattr(found, name), getattr(truth, name), err_msg=name)


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_bars_equal_the_truth(tmp_path: Path, name: str) -> None:
    written = LAYOUTS[name](TRUTH, tmp_path)
    reading = read_interpreted(written.path, ReadOptions(**written.options), TQQQ)
    assert_same(reading.bars, TRUTH)
    stated = reading.interpretation
    expected = written.recognized or written.options.get("format") or "own columns"
    assert stated.source == expected
    assert (stated.bars, stated.bars_per_session, stated.step_seconds) == (len(TRUTH), 78.0, 300)
    assert stated.first == "2024-10-24 09:30-04:00"
    assert stated.last == "2024-11-04 15:55-05:00"
    assert stated.warnings == {"missing_bars": 2} or set(stated.warnings) <= {"missing_bars"}


def test_every_format_has_a_layout() -> None:
    names = {name.split("_")[0] for name in LAYOUTS}
    assert names == set(FORMATS)


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_cannot_be_known_is_refused(tmp_path: Path, name: str) -> None:
    """A layout that needs an option is refused without it, and the message names it."""
    written = LAYOUTS[name](TRUTH, tmp_path)
    needed = {"ninjatrader", "histdata"}
    must = {**written.options}
    if name not in needed:
        must.pop("format", None)
    for option in must:
        less = {key: value for key, value in written.options.items() if key != option}
        with pytest.raises(UsageError, match=f"--{option}"):
            read_interpreted(written.path, ReadOptions(**less), TQQQ)
    if not must:
        assert_same(read_interpreted(written.path, ReadOptions(), TQQQ).bars, TRUTH)


def test_a_named_format_must_fit(tmp_path: Path) -> None:
    written = LAYOUTS["kraken"](TRUTH, tmp_path)
    with pytest.raises(UsageError, match=r"--format mt5: TQQQ_5[.]csv is not laid out so"):
        read_interpreted(written.path, ReadOptions(format="mt5"), TQQQ)
    with pytest.raises(UsageError, match="--format: found 'mt6', expected mt4, mt5"):
        read_interpreted(written.path, ReadOptions(format="mt6"), TQQQ)


def test_the_two_programs_that_write_the_same_rows_are_told_apart_by_the_user(
    tmp_path: Path,
) -> None:
    written = LAYOUTS["ninjatrader"](TRUTH, tmp_path)
    with pytest.raises(UsageError, match="--format ninjatrader or --format histdata"):
        read_interpreted(written.path, ReadOptions(), TQQQ)
    with pytest.raises(DataError, match=r"wrong_zone: 22% of the bars lie in sessions"):
        read_interpreted(written.path, ReadOptions(format="histdata"), TQQQ)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_recognized_in_milliseconds(tmp_path: Path, name: str) -> None:
    written = LAYOUTS[name](TRUTH, tmp_path)
    path = written.path if written.path.is_file() else next(written.path.iterdir())
    times = []
    for _ in range(3):
        begun = time.process_time()
        with Scan(path) as scan:
            recognize(scan, ReadOptions(**written.options))
        times.append(time.process_time() - begun)
    assert min(times) * 1e3 < MAX_RECOGNITION_MS
