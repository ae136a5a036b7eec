from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from rllib_tactical.data.quality.findings import CheckReport, Collector
from rllib_tactical.data.quality.price_rules import check_scale
from tests.data.tables import columns_of, walk_frame
from tests.market import INSTRUMENT

CENTS = dataclasses.replace(INSTRUMENT, tick_size=0.01)


def checked(scale: float = 1.0, tick: float = 0.01, **cells: float) -> CheckReport:
    """Check bars at about $100 x ``scale``; ``cells`` replaces the close of a row by ``row_N``."""
    frame = walk_frame(40)
    for name in ("open", "high", "low", "close"):
        frame[name] = np.round(frame[name] * scale, 9)
    for row, value in cells.items():
        frame.loc[int(row.removeprefix("row_")), "close"] = value
    columns = columns_of(frame)
    assert columns.timestamps is not None
    collector = Collector(columns.timestamps.micros, ~columns.timestamps.bad, 10)
    check_scale(columns, dataclasses.replace(CENTS, tick_size=tick), collector)
    return collector.report(columns.rows)


def test_prices_on_the_tick_are_well() -> None:
    assert checked().counts == {}
    assert checked(row_3=float(np.float32(100.17))).counts == {}  # went through 32 bits


def test_a_price_off_the_tick_is_a_warning_that_counts_bars() -> None:
    report = checked(row_3=100.005, row_7=100.004)
    assert report.counts == {"off_tick": 1}
    (finding,) = report.findings
    assert finding.row == 3
    assert finding.message.startswith("2 of 40 bars have prices that are no multiples of the tick")


@pytest.mark.parametrize(
    ("scale", "tick", "wrong"),
    [(1.0, 30.0, True), (1.0, 20.0, False), (1e9, 50.0, True), (1e4, 0.01, False)],
)
def test_prices_in_another_unit_are_an_error(scale: float, tick: float, wrong: bool) -> None:
    report = checked(scale, tick)
    assert ("price_scale" in report.counts) is wrong
    if wrong:
        assert report.errors == 1
        assert "give --price-scale, or another instrument" in report.findings[0].message


def test_a_single_wrong_price_is_not_a_wrong_scale() -> None:
    assert "price_scale" not in checked(row_5=1e9).counts
    assert checked(row_5=np.nan).counts == {}
