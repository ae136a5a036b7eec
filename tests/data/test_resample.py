from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rllib_tactical.data.files import read_table
from rllib_tactical.data.resample import import_frame, resample_bars, resample_ticks
from rllib_tactical.domain.types import Bars
from rllib_tactical.errors import DataError
from tests.data.tables import NOW_S, START_S, walk, walk_bars, walk_frame


def test_hand_computed_five_minutes() -> None:
    bars = Bars(
        START_S + 60 * np.arange(5),
        np.array([10.0, 11, 12, 13, 14]),
        np.array([11.0, 15, 13, 14, 15]),
        np.array([9.0, 10, 8, 12, 13]),
        np.array([11.0, 12, 13, 14, 14.5]),
        np.array([1.0, 2, 3, 4, 5]),
    )
    (made,) = [resample_bars(bars, source_seconds=60)]
    values = [getattr(made, n).tolist() for n in ("open", "high", "low", "close", "volume")]
    assert values == [[10.0], [15.0], [8.0], [14.5], [15.0]]
    assert made.timestamp_s.tolist() == [START_S]


def thin_bars(minutes: list[int]) -> Bars:
    columns = walk(len(minutes))
    columns["timestamp"] = START_S + 60 * np.array(sorted(minutes), dtype=np.int64)
    return Bars(columns.pop("timestamp"), *columns.values())


@given(st.lists(st.integers(0, 120), min_size=1, max_size=80, unique=True))
def test_equals_a_naive_group_by(minutes: list[int]) -> None:
    bars = thin_bars(minutes)
    made = resample_bars(bars, source_seconds=60)
    frame = pd.DataFrame({n: getattr(bars, n) for n in ("open", "high", "low", "close", "volume")})
    groups = frame.groupby(bars.timestamp_s // 300 * 300)
    expected = groups.agg(
        {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    )
    if bars.timestamp_s[0] % 300 != 0:
        expected = expected.iloc[1:]
    if len(expected) and (bars.timestamp_s[-1] + 60) % 300 != 0:
        expected = expected.iloc[:-1]
    assert made.timestamp_s.tolist() == expected.index.tolist()
    for name in ("open", "high", "low", "close"):
        assert getattr(made, name).tolist() == expected[name].tolist()
    np.testing.assert_allclose(made.volume, expected["volume"])


@given(st.integers(1, 20), st.sampled_from([60, 100, 300]))
def test_whole_slots_conserve_volume_and_envelope(slots: int, source: int) -> None:
    bars = walk_bars(slots * 300 // source, bar_seconds=source)
    made = resample_bars(bars, source_seconds=source)
    assert len(made) == slots
    assert made.volume.sum() == bars.volume.sum()
    assert (made.high.max(), made.low.min()) == (bars.high.max(), bars.low.min())
    assert (made.open[0], made.close[-1]) == (bars.open[0], bars.close[-1])


def test_partial_ends_are_dropped_and_empty_slots_stay_empty() -> None:
    made = resample_bars(thin_bars([3, 4, 5, 6, 15, 19, 20, 21]), source_seconds=60)
    assert ((made.timestamp_s - START_S) // 60).tolist() == [5, 15]


def test_refused_sources() -> None:
    with pytest.raises(DataError, match="cannot be resampled"):
        resample_bars(walk_bars(bar_seconds=900), source_seconds=900)
    with pytest.raises(DataError, match="cannot be resampled"):
        resample_bars(walk_bars(bar_seconds=120), source_seconds=120)
    with pytest.raises(DataError, match="increase"):
        resample_bars(walk_bars()[::-1], source_seconds=60)
    falling = np.array([5, 4], dtype=np.int64)
    with pytest.raises(DataError, match="fall"):
        resample_ticks(falling, np.ones(2), np.ones(2))
    with pytest.raises(DataError, match="shape"):
        resample_ticks(falling, np.ones(3), np.ones(2))


def test_nothing_gives_nothing() -> None:
    assert len(resample_bars(walk_bars()[:0], source_seconds=60)) == 0
    empty = np.zeros(0)
    assert len(resample_ticks(empty.astype(np.int64), empty, empty)) == 0


def test_ticks_hand_computed() -> None:
    seconds = np.array([0.0, 0.0, 299.999, 300.0, 301.0, 700.0])
    made = resample_ticks(
        (START_S * 1_000_000 + seconds * 1e6).astype(np.int64),
        np.array([10.0, 12, 9, 20, 21, 30]),
        np.array([1.0, 2, 3, 4, 5, 6]),
    )
    assert (made.timestamp_s - START_S).tolist() == [0, 300]
    assert made.open.tolist() == [10, 20] and made.high.tolist() == [12, 21]
    assert made.low.tolist() == [9, 20] and made.close.tolist() == [9, 21]
    assert made.volume.tolist() == [6, 9]


def test_the_first_slot_of_ticks_is_partial_unless_a_tick_opens_it() -> None:
    micros = START_S * 1_000_000 + np.array([1, 300_000_000, 700_000_000], dtype=np.int64)
    made = resample_ticks(micros, np.ones(3), np.ones(3))
    assert (made.timestamp_s - START_S).tolist() == [300]


def test_import_tells_ticks_and_bars_apart() -> None:
    ticks = pd.DataFrame(
        {
            "Timestamp": (START_S * 1000 + 500 * np.arange(3000)),
            "Price": np.full(3000, 5.0),
            "Size": np.ones(3000),
        }
    )
    imported = import_frame(ticks, now_s=NOW_S)
    assert (imported.source, imported.source_seconds) == ("ticks", None)
    assert imported.bars.volume.tolist() == [600.0] * 4
    imported = import_frame(walk_frame(300, bar_seconds=60), now_s=NOW_S)
    assert (imported.source, imported.source_seconds) == ("bars", 60)
    assert len(imported.bars) == 60
    assert (imported.first_dropped, imported.last_dropped) == (False, False)


def test_import_of_thin_one_minute_bars() -> None:
    frame = walk_frame(300, bar_seconds=60)
    frame = frame[(frame.index % 2 == 0) | (frame.index % 10 == 1)]
    assert import_frame(frame, now_s=NOW_S).source_seconds == 60


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (walk_frame(5, bar_seconds=60).assign(close=-1.0), "price_not_positive"),
        (walk_frame(5, bar_seconds=900), "900 s long"),
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
        import_frame(frame, now_s=NOW_S)


@pytest.mark.realdata
def test_one_minute_bitcoin_becomes_five_minutes(real_data: Path) -> None:
    path = real_data / "BTCUSDT_perp_1m_2025-05_2025-06.parquet"
    if not path.exists():
        pytest.skip("the 1-minute file is absent")
    imported = import_frame(read_table(path))
    # 43,199 minutes from 15:33 on: two before the grid, then 8,639 slots, then two of a last one.
    assert len(imported.bars) == 8639
    assert (imported.first_dropped, imported.last_dropped) == (True, True)
