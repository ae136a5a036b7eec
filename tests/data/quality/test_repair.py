from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rllib_tactical.data.instruments import load_instrument
from rllib_tactical.data.quality.repair import Change, repair_columns
from rllib_tactical.data.quality.rules import check_columns
from rllib_tactical.errors import DataError
from tests.data.tables import NOW_S, START_S, columns_of, walk_frame


def repair(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[Change]]:
    repaired, changes = repair_columns(columns_of(frame), now_s=NOW_S)
    assert check_columns(columns_of(repaired), now_s=NOW_S).errors == 0
    return repaired, changes


def out_of_order() -> pd.DataFrame:
    """Return a table whose second half stands before its first."""
    return walk_frame().iloc[[*range(20, 40), *range(20)]].reset_index(drop=True)


def test_clean_data_stay_as_they_are() -> None:
    repaired, changes = repair(walk_frame())
    assert changes == []
    frame = walk_frame()
    assert (repaired["timestamp"].astype("int64") // 10**6).tolist() == frame["timestamp"].tolist()
    for name in ("open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(repaired[name], frame[name])


def test_the_input_is_not_changed() -> None:
    frame = out_of_order()
    frame.loc[3, "high"] = 1.0
    before = frame.copy()
    repair(frame)
    pd.testing.assert_frame_equal(frame, before)


def test_sorting_is_one_change() -> None:
    frame = out_of_order()
    repaired, (change,) = repair(frame)
    assert (change.row, change.rule, change.action) == (None, "out_of_order", "sorted")
    assert repaired["close"].tolist() == walk_frame()["close"].tolist()


def test_duplicates_keep_the_first_and_say_whether_they_differ() -> None:
    frame = walk_frame(40)
    conflict = frame.iloc[[4]].assign(volume=12_345.0)
    frame = pd.concat([frame, frame.iloc[[2]], conflict], ignore_index=True)
    repaired, changes = repair(frame)
    assert len(repaired) == 40
    assert 12_345.0 not in repaired["volume"].tolist()
    dropped = {c.row: c.message for c in changes if c.rule == "duplicate_timestamp"}
    assert dropped == {
        40: "same time and values as row 2",
        41: "same time as row 4 but other values; the first row was kept",
    }


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("close", np.nan, "unparsable_cell"),
        ("open", 0.0, "price_not_positive"),
        ("volume", -1.0, "negative_volume"),
        ("timestamp", START_S + 301, "off_grid"),
        ("timestamp", 2_000_000_100, "in_future"),
    ],
)
def test_rows_beyond_mending_are_dropped(column: str, value: float, rule: str) -> None:
    frame = walk_frame()
    frame.loc[39, column] = value
    repaired, (change,) = repair(frame)
    assert (change.row, change.rule, change.action) == (39, rule, "dropped")
    assert len(repaired) == 39


def test_high_and_low_are_moved_to_span_open_and_close() -> None:
    frame = walk_frame()
    frame.loc[5, ["high", "low"]] = [1.0, 1000.0]
    repaired, changes = repair(frame)
    assert [c.action for c in changes] == ["raised_high", "lowered_low"]
    assert repaired.loc[5, "high"] == max(frame["open"][5], frame["close"][5])
    assert repaired.loc[5, "low"] == min(frame["open"][5], frame["close"][5])


def test_naive_times_become_utc_and_no_bar_is_invented() -> None:
    frame = walk_frame().drop(index=[7]).reset_index(drop=True)
    frame["timestamp"] = pd.to_datetime(frame["timestamp"], unit="s")
    repaired, (change,) = repair(frame)
    assert change.action == "set_timezone"
    assert len(repaired) == 39
    assert str(repaired["timestamp"].dt.tz) == "UTC"


def test_what_cannot_be_repaired() -> None:
    with pytest.raises(DataError, match="missing_column"):
        repair_columns(columns_of(walk_frame().drop(columns="low")))
    with pytest.raises(DataError, match="empty_file"):
        repair_columns(columns_of(pd.DataFrame()))
    with pytest.raises(DataError, match="the interpretation is wrong"):
        repair_columns(columns_of(walk_frame().assign(close="x")))


@pytest.mark.parametrize(
    ("frame", "cause"),
    [
        (walk_frame(400, bar_seconds=60), "wrong_bar_length in 1 of 400 .* use data import"),
        (walk_frame(40, bar_seconds=3600), "wrong_bar_length in 1 of 40 "),
        (walk_frame().assign(high=1.0), "high_too_low in 40 of 40 .* other columns are meant"),
        (walk_frame().assign(volume=-1.0), "negative_volume in 40 of 40 .* use --columns"),
        (
            pd.concat([walk_frame(), walk_frame()], ignore_index=True),
            "duplicate_timestamp in 40 of 80 .* several symbols or series: use --symbol",
        ),
        (
            walk_frame().assign(timestamp=walk_frame()["timestamp"] + 7),
            "off_grid in 40 of 40 .* use --bar or --stamp",
        ),
    ],
)
def test_a_wrong_interpretation_is_not_repaired(frame: pd.DataFrame, cause: str) -> None:
    with pytest.raises(DataError, match=cause):
        repair_columns(columns_of(frame), now_s=NOW_S)


def test_prices_in_another_unit_are_not_repaired() -> None:
    frame = walk_frame()
    frame[["open", "high", "low", "close"]] *= 1e9
    market = load_instrument("TQQQ")
    with pytest.raises(DataError, match=r"price_scale .* use --price-scale"):
        repair_columns(columns_of(frame), instrument=market, now_s=NOW_S)


def test_five_percent_of_the_rows_may_be_broken() -> None:
    frame = walk_frame(100)
    frame.loc[10:14, "volume"] = -1.0
    assert len(repair(frame)[0]) == 95
    frame.loc[15, "volume"] = -1.0
    with pytest.raises(DataError, match="negative_volume in 6 of 100"):
        repair_columns(columns_of(frame), now_s=NOW_S)


@pytest.mark.slow
@given(st.data())
def test_any_damage_is_repaired_without_new_rows(data: st.DataObject) -> None:
    frame = walk_frame(240)
    first = frame.loc[0].copy()
    values = st.sampled_from([0.0, -1.0, np.nan, np.inf, 1e308, 50.0, 300.0])
    for _ in range(data.draw(st.integers(0, 10))):
        row = data.draw(st.integers(1, 239))
        name = data.draw(st.sampled_from(["open", "high", "low", "close", "volume"]))
        frame.loc[row, name] = data.draw(values)
    for _ in range(data.draw(st.integers(0, 5))):
        moved = START_S + 300 * data.draw(st.integers(0, 240))
        frame.loc[data.draw(st.integers(0, 239)), "timestamp"] = moved
    frame.loc[0, ["open", "high", "low", "close", "volume"]] = first.drop("timestamp")
    repaired, _ = repair(frame)
    assert set(repaired["timestamp"].astype("int64") // 10**6) <= set(frame["timestamp"])
    again, changes = repair(repaired)
    assert changes == []
    pd.testing.assert_frame_equal(again, repaired)
