from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given

from rllib_tactical.domain.features import fvg
from rllib_tactical.domain.types import Bars
from tests.domain.builders import bars_of, mirror_bars, random_bars, tick_bars, walks
from tests.domain.reference_gaps import reference_gap_rows

# bodies 1, 10: the average known at bar 2 is 5.5 and 10 > 8.25; the hole is [101, 105]
BULLISH = [(100, 101, 99, 101), (101, 111, 101, 111), (110, 112, 105, 110)]
BEARISH = [(200 - o, 200 - low, 200 - high, 200 - c) for o, high, low, c in BULLISH]
ABOVE = (110, 112, 106, 110)  # a bar that stays clear of the bullish zone


def columns(rows: Sequence[tuple[float, ...]]) -> list[tuple[float, ...]]:
    """Return the gap rows, after checking that the stream gives the same."""
    bars = bars_of(rows)
    table = [tuple(row) for row in fvg.track_gaps(bars).columns.tolist()]
    stream = fvg.GapStream()
    assert [stream.push(*row[:4]) for row in rows] == table
    return table


def births(rows: Sequence[tuple[float, ...]]) -> list[int]:
    found: list[int] = fvg.find_births(bars_of(rows)).tolist()
    return found


def test_bullish_gap_is_born_between_the_first_high_and_the_third_low() -> None:
    assert births(BULLISH) == [0, 0, 1]
    # close 110 is nearer to 105 than to 101
    assert columns(BULLISH)[2] == (1.0, 0.0, 105.0, 0.0, 0.0)


def test_bearish_gap_is_the_reflection() -> None:
    assert births(BEARISH) == [0, 0, -1]
    assert columns(BEARISH)[2] == (0.0, 1.0, 95.0, 0.0, 0.0)


def test_no_hole_no_gap() -> None:
    touching = [*BULLISH[:2], (110, 112, 101, 110)]  # L_t = H_{t-2}
    assert births(touching) == [0, 0, 0]
    assert births([(200 - o, 200 - lo, 200 - hi, 200 - c) for o, hi, lo, c in touching]) == [0] * 3


def test_body_must_exceed_one_and_a_half_times_the_mean_up_to_itself() -> None:
    def with_body(size: float) -> list[tuple[float, ...]]:
        return [(100, 101, 99, 101), (101, 101 + size, 101, 101 + size), (120, 120, 110, 115)]

    # mean of bodies 1 and b is (1 + b) / 2, so b > 1.5 (1 + b) / 2 means b > 3
    assert births(with_body(3.0)) == [0, 0, 0]
    assert births(with_body(3.25)) == [0, 0, 1]


def test_mean_body_excludes_the_current_bar() -> None:
    # with the current body of 50 the average would be 20.3 and no gap would be born
    assert births([*BULLISH[:2], (160, 160, 105, 110)]) == [0, 0, 1]


def test_mean_body_looks_back_20_bars() -> None:
    # bodies 100, then 19 of 1, then 2 (the middle candle): the 20 before the last bar exclude the
    # 100 and average 1.05; one bar sooner the 100 is inside and the average is 6
    quiet = [(100, 100.5, 99, 101)] * 18
    start = [(100, 200, 100, 200), *quiet, (100, 101, 99, 101), (101, 103, 101, 103)]
    assert births([*start, (110, 112, 108, 110)])[-1] == 1
    assert births([start[0], *start[2:], (110, 112, 108, 110)])[-1] == 0


def test_no_gap_before_the_third_bar() -> None:
    assert births([]) == []
    assert columns([]) == []
    assert births(BULLISH[:2]) == [0, 0]


def test_first_touch_fires_once_and_the_gap_stays_until_filled() -> None:
    touch, deeper, fill = (110, 110, 105, 109), (109, 109, 102, 108), (108, 108, 101, 104)
    rows = columns([*BULLISH, ABOVE, touch, deeper, fill])
    assert rows[3] == (1.0, 0.0, 105.0, 1.0, 0.0)
    assert rows[4] == (1.0, 0.0, 105.0, 2.0, 1.0)  # L = zone top: touched
    assert rows[5] == (1.0, 0.0, 105.0, 3.0, 0.0)  # deeper: the signal does not repeat
    assert rows[6] == (0.0, 0.0, 0.0, 0.0, 0.0)  # L = zone bottom: filled


def test_touch_and_fill_on_one_bar_fires() -> None:
    rows = columns([*BULLISH, (110, 110, 90, 100)])
    assert rows[3] == (0.0, 0.0, 0.0, 0.0, 1.0)


def test_bearish_touch_and_fill() -> None:
    rows = columns([*BEARISH, (90, 95, 90, 91), (91, 98, 90, 92), (92, 99, 90, 92)])
    assert rows[3] == (0.0, 1.0, 95.0, 1.0, 1.0)  # H = zone bottom
    assert rows[4] == (0.0, 1.0, 95.0, 2.0, 0.0)
    assert rows[5] == (0.0, 0.0, 0.0, 0.0, 0.0)  # H = zone top


def test_birth_bar_does_not_touch_its_own_gap() -> None:
    assert columns(BULLISH)[2][4] == 0.0


def test_gap_lives_60_bars_after_its_birth() -> None:
    rows = columns([*BULLISH, *[ABOVE] * 61])
    assert rows[2 + 60] == (1.0, 0.0, 105.0, 60.0, 0.0)
    assert rows[2 + 61] == (0.0, 0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(("age", "signal"), [(60, 1.0), (61, 1.0), (62, 0.0)])
def test_last_bar_that_can_touch_is_the_one_that_ends_by_age(age: int, signal: float) -> None:
    rows = columns([*BULLISH, *[ABOVE] * (age - 1), (110, 110, 104, 110)])
    assert rows[-1][4] == signal


def test_nearest_level_may_be_the_far_edge_and_belongs_to_its_gap() -> None:
    # close below the middle of [101, 105] after a touch: the far edge 101 is nearer
    assert columns([*BULLISH, (104, 104, 102, 102)])[3][2:4] == (101.0, 1.0)


def test_equally_near_edges_go_to_the_newest_gap() -> None:
    # a second hole [112, 120] is born on bar 4; close 112.5 is 7.5 from 105 and from 120, and
    # 0.5 from 112, so the second gap owns the level; with close 108.5 its own 112 ties with 105
    rows = [*BULLISH, (110, 140, 110, 140), (121, 122, 120, 120)]
    assert births(rows)[4] == 1
    tie = columns([*rows, (120, 120, 113, 108.5)])
    assert tie[5][2:4] == (112.0, 1.0)
    older = columns([*rows, (120, 120, 113, 108.25)])
    assert older[5][2:4] == (105.0, 3.0)


@given(tick_bars())
def test_batch_and_stream_agree_with_the_reference_on_ties(bars: Bars) -> None:
    check_against_reference(bars)


@given(walks())
def test_batch_and_stream_agree_with_the_reference_on_walks(bars: Bars) -> None:
    check_against_reference(bars)


def check_against_reference(bars: Bars) -> None:
    prices = [column.tolist() for column in (bars.open, bars.high, bars.low, bars.close)]
    rows, born = reference_gap_rows(*prices)
    table = fvg.track_gaps(bars)
    np.testing.assert_array_equal(table.columns, np.array(rows).reshape(-1, 5))
    assert table.birth.tolist() == born
    stream = fvg.GapStream()
    signs = []
    for row, prices_t in zip(rows, zip(*prices, strict=True), strict=True):
        assert stream.push(*prices_t) == row
        signs.append(stream.birth)
    assert signs == born


@given(tick_bars())
def test_reflected_prices_mirror_the_gap_columns(bars: Bars) -> None:
    twice_centre = 4096.0
    straight = fvg.track_gaps(bars)
    mirrored = fvg.track_gaps(mirror_bars(bars, twice_centre))
    np.testing.assert_array_equal(mirrored.birth, -straight.birth)
    swapped = mirrored.columns[:, [1, 0, 3, 4]]
    np.testing.assert_array_equal(swapped, straight.columns[:, [0, 1, 3, 4]])
    level = straight.columns[:, 2]
    np.testing.assert_array_equal(
        mirrored.columns[:, 2], np.where(level != 0.0, twice_centre - level, 0.0)
    )


def test_the_walks_do_make_gaps() -> None:
    """The random bars of these tests would prove little if gaps were rare on them."""
    table = fvg.track_gaps(random_bars(np.random.default_rng(0), 2_000))
    assert (table.birth == 1).sum() > 20
    assert (table.birth == -1).sum() > 20
    assert 0.2 < table.columns[:, 0].mean() < 0.95
    assert table.columns[:, 4].sum() > 20
    assert table.columns[:, 3].max() == 60.0
