"""Tables of several files become one, or are refused for what they disagree about."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from rllib_tactical.data.interpret.join import join_columns
from rllib_tactical.data.io.columns import Columns
from rllib_tactical.errors import DataError, UsageError
from tests.data.tables import columns_of, walk_frame

FRAME = walk_frame(40)


def part(start: int, stop: int, frame: pd.DataFrame = FRAME) -> Columns:
    return columns_of(frame.iloc[start:stop].reset_index(drop=True))


def assert_whole(found: Columns, start: int = 0, stop: int = 40) -> None:
    expected = part(start, stop)
    assert found.rows == stop - start
    assert found.timestamps is not None and expected.timestamps is not None
    np.testing.assert_array_equal(found.timestamps.micros, expected.timestamps.micros)
    for name, numbers in expected.numbers.items():
        np.testing.assert_array_equal(found.numbers[name].values, numbers.values)


def test_parts_are_put_in_the_order_of_their_times() -> None:
    found, order, repeated = join_columns([part(25, 40), part(0, 10), part(10, 25)], list("abc"))
    assert_whole(found)
    assert (order, repeated) == ((1, 2, 0), 0)


def test_a_bar_that_two_parts_have_is_kept_once() -> None:
    found, order, repeated = join_columns([part(20, 40), part(0, 25)], list("ab"))
    assert_whole(found)
    assert (order, repeated) == ((1, 0), 5)


def test_parts_that_overlap_are_put_in_the_order_of_their_times() -> None:
    odd = FRAME.iloc[1::2].reset_index(drop=True)
    even = FRAME.iloc[0::2].reset_index(drop=True)
    found, _, repeated = join_columns([columns_of(odd), columns_of(even)], list("ab"))
    assert_whole(found)
    assert repeated == 0


def test_rows_of_one_part_that_do_not_rise_stay_for_the_check() -> None:
    turned = FRAME.iloc[[1, 0, *range(2, 20)]].reset_index(drop=True)
    found, _, _ = join_columns([columns_of(turned), part(20, 40)], list("ab"))
    assert found.timestamps is not None
    assert (np.diff(found.timestamps.micros[:3]) < 0).tolist() == [True, False]


def test_other_numbers_for_one_bar_are_refused_with_both() -> None:
    changed = FRAME.copy()
    changed.loc[22, "close"] = 7.0
    with pytest.raises(DataError) as raised:
        join_columns([part(0, 25), part(20, 40, changed)], ["a.csv", "b.csv"])
    close = FRAME["close"][22]
    assert str(raised.value) == (
        "a.csv and b.csv disagree about 1 bars, the first at 2022-01-03T01:50:00Z: "
        f"close is {close} and 7.0"
    )


def test_rows_with_bad_cells_keep_their_place_in_messages() -> None:
    broken = FRAME.astype({"close": object})
    broken.loc[25, "close"] = "x"
    found, _, _ = join_columns([part(20, 40, broken), part(0, 20)], list("ab"))
    assert found.raw["close"].to_dict() == {25: "x"}
    assert np.flatnonzero(found.numbers["close"].bad).tolist() == [25]


def test_parts_need_each_column_once_and_one_symbol() -> None:
    lacking = columns_of(FRAME.drop(columns="close"))
    with pytest.raises(UsageError, match="b: each column is required once, check close"):
        join_columns([part(0, 20), lacking], list("ab"))
    symbols = [
        dataclasses.replace(part(0, 20), symbols=("SPY",)),
        dataclasses.replace(part(20, 40), symbols=("QQQ",)),
    ]
    with pytest.raises(UsageError, match=r"2 symbols \(QQQ, SPY\): choose one with --symbol"):
        join_columns(symbols, list("ab"))
