from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rllib_tactical.data.io.parse import BAR_COLUMNS, TICK_COLUMNS
from rllib_tactical.data.resample import Imported, import_columns
from rllib_tactical.errors import DataError
from tests.data.tables import NOW_S, START_S, columns_of, read_columns, walk, walk_frame


def imported(frame: pd.DataFrame) -> Imported:
    """Import a table to 5-minute bars."""
    needed = TICK_COLUMNS if "price" in map(str.lower, frame.columns) else BAR_COLUMNS
    return import_columns(columns_of(frame, needed), now_s=NOW_S)


def test_hand_computed_five_minutes() -> None:
    frame = pd.DataFrame(
        {
            "timestamp": START_S + 60 * np.arange(5),
            "open": [10.0, 11, 12, 13, 14],
            "high": [11.0, 15, 13, 14, 15],
            "low": [9.0, 10, 8, 12, 13],
            "close": [11.0, 12, 13, 14, 14.5],
            "volume": [1.0, 2, 3, 4, 5],
        }
    )
    made = imported(frame).bars
    values = [getattr(made, n).tolist() for n in ("open", "high", "low", "close", "volume")]
    assert values == [[10.0], [15.0], [8.0], [14.5], [15.0]]
    assert made.timestamp_s.tolist() == [START_S]


def thin_frame(minutes: list[int]) -> pd.DataFrame:
    """Return bars of the given minutes."""
    times = START_S + 60 * np.array(sorted(minutes), dtype=np.int64)
    return pd.DataFrame({**walk(len(minutes)), "timestamp": times})


@given(st.lists(st.integers(10, 120), max_size=80, unique=True))
def test_equals_a_naive_group_by(minutes: list[int]) -> None:
    # a whole slot, whose neighbors show the length of the source's bars
    frame = thin_frame([0, 1, 2, 3, 4, *minutes])
    made = imported(frame).bars
    times = frame.pop("timestamp")
    groups = frame.groupby(times // 300 * 300)
    expected = groups.agg(
        {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    )
    if (times.iloc[-1] + 60) % 300 != 0:
        expected = expected.iloc[:-1]
    assert made.timestamp_s.tolist() == expected.index.tolist()
    for name in ("open", "high", "low", "close"):
        assert getattr(made, name).tolist() == expected[name].tolist()
    np.testing.assert_allclose(made.volume, expected["volume"])


@given(st.integers(2, 20), st.sampled_from([60, 100, 300]))
def test_whole_slots_conserve_volume_and_envelope(slots: int, source: int) -> None:
    bars = walk_frame(slots * 300 // source, bar_seconds=source)
    made = imported(bars).bars
    assert len(made) == slots
    assert made.volume.sum() == bars.volume.sum()
    assert (made.high.max(), made.low.min()) == (bars.high.max(), bars.low.min())
    assert (made.open[0], made.close[-1]) == (bars.open.iloc[0], bars.close.iloc[-1])


def test_partial_ends_are_dropped_and_empty_slots_stay_empty() -> None:
    found = imported(thin_frame([3, 4, 5, 6, 15, 19, 20, 21]))
    assert ((found.bars.timestamp_s - START_S) // 60).tolist() == [5, 15]
    assert (found.first_dropped, found.last_dropped) == (True, True)


def ticks_frame(seconds: list[float], **columns: object) -> pd.DataFrame:
    """Return ticks at seconds after START_S, in microseconds."""
    micros = (START_S * 1_000_000 + np.array(seconds) * 1e6).astype(np.int64)
    return pd.DataFrame({"timestamp": micros, **columns})


def test_ticks_hand_computed() -> None:
    made = imported(
        ticks_frame(
            [0.0, 0.0, 299.999, 300.0, 301.0, 700.0],
            price=[10.0, 12, 9, 20, 21, 30],
            size=[1.0, 2, 3, 4, 5, 6],
        )
    ).bars
    assert (made.timestamp_s - START_S).tolist() == [0, 300]
    assert made.open.tolist() == [10, 20] and made.high.tolist() == [12, 21]
    assert made.low.tolist() == [9, 20] and made.close.tolist() == [9, 21]
    assert made.volume.tolist() == [6, 9]


def test_the_first_slot_of_ticks_is_partial_unless_a_tick_opens_it() -> None:
    made = imported(ticks_frame([1e-6, 300.0, 700.0], price=1.0, size=1.0)).bars
    assert (made.timestamp_s - START_S).tolist() == [300]


def test_import_tells_ticks_and_bars_apart() -> None:
    ticks = pd.DataFrame(
        {
            "Timestamp": (START_S * 1000 + 500 * np.arange(3000)),
            "Price": np.full(3000, 5.0),
            "Size": np.ones(3000),
        }
    )
    found = imported(ticks)
    assert (found.source, found.source_seconds) == ("ticks", None)
    assert found.bars.volume.tolist() == [600.0] * 4
    found = imported(walk_frame(300, bar_seconds=60))
    assert (found.source, found.source_seconds) == ("bars", 60)
    assert len(found.bars) == 60
    assert (found.first_dropped, found.last_dropped) == (False, False)


def test_import_of_thin_one_minute_bars() -> None:
    frame = walk_frame(300, bar_seconds=60)
    frame = frame[(frame.index % 2 == 0) | (frame.index % 10 == 1)]
    assert imported(frame).source_seconds == 60


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (walk_frame(5, bar_seconds=60).assign(close=-1.0), "price_not_positive"),
        (walk_frame(5, bar_seconds=900), "900 s long"),
        (walk_frame(5, bar_seconds=120), "120 s long"),
        (walk_frame(5, bar_seconds=60)[::-1], "out_of_order"),
        (walk_frame(0), "empty_file"),
        (walk_frame(3, bar_seconds=60), "no complete|give no complete"),
        (walk_frame(1), "one row"),
        (pd.DataFrame(), "empty_file"),
        (walk_frame(5).drop(columns="open"), "missing_column"),
        (pd.DataFrame({"price": [1.0], "size": [1.0]}), "missing_column"),
        (pd.DataFrame({"timestamp": [1], "price": [0.0], "size": [1.0]}), "price_not_positive"),
        (pd.DataFrame({"timestamp": [1], "price": [1.0], "size": [-1.0]}), "negative_volume"),
        (pd.DataFrame({"timestamp": [2, 1], "price": [1.0] * 2, "size": [1.0] * 2}), "out_of_o"),
        (pd.DataFrame({"timestamp": [1], "price": ["x"], "size": [1.0]}), "unparsable_cell"),
    ],
)
def test_import_refuses(frame: pd.DataFrame, text: str) -> None:
    with pytest.raises(DataError, match=text):
        imported(frame)


@pytest.mark.realdata
def test_one_minute_bitcoin_becomes_five_minutes(real_data: Path) -> None:
    path = real_data / "BTCUSDT_perp_1m_2025-05_2025-06.parquet"
    if not path.exists():
        pytest.skip("the 1-minute file is absent")
    found = import_columns(read_columns(path, ticks=True))
    # 43,199 minutes from 15:33 on: two before the grid, then 8,639 slots, then two of a last one.
    assert len(found.bars) == 8639
    assert (found.first_dropped, found.last_dropped) == (True, True)


def holes() -> pd.DataFrame:
    """Return 20 slots of five minutes; the second lacks one row, the third all but one."""
    return walk_frame(100, bar_seconds=60).drop(index=[7, 11, 12, 13, 14])


def test_bars_made_of_fewer_rows_are_counted() -> None:
    found = imported(holes())
    assert (len(found.bars), found.rows_per_bar) == (20, 5)
    assert (found.partial, found.fewest_rows, found.partial_dropped) == (2, 1, 0)
    assert found.partial_text == (
        "2 of 20 bars are made of fewer than 5 rows, the fewest 1; 0 of them dropped"
    )
    whole = imported(walk_frame(100, bar_seconds=60))
    assert (whole.partial, whole.partial_text) == (0, "")


@pytest.mark.parametrize(("share", "left"), [(0.2, 20), (0.21, 19), (0.8, 19), (0.81, 18), (1, 18)])
def test_bars_made_of_too_few_rows_are_dropped(share: float, left: int) -> None:
    found = import_columns(columns_of(holes()), min_share=share, now_s=NOW_S)
    assert (len(found.bars), found.partial_dropped) == (left, 20 - left)


def test_an_outage_is_partial_bars_and_hours_among_minutes_are_another_length() -> None:
    frame = walk_frame(9_000, bar_seconds=60)
    outage = frame.drop(index=[row for row in range(500, 1_500) if row % 5])
    assert imported(outage).partial == 200
    hours = frame.drop(index=[row for row in range(120, 8_940) if row % 60])
    with pytest.raises(DataError, match=r"wrong_bar_length: .* from here on, are 1h apart"):
        imported(hours)
