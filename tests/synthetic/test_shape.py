from __future__ import annotations

import numpy as np
import pytest

from rllib_tactical.domain.features.fvg import find_births
from rllib_tactical.domain.types import Bars
from rllib_tactical.synthetic.draw import Canvas, draw_gap_slots
from rllib_tactical.synthetic.plan import LEAD
from rllib_tactical.synthetic.shape import UNIT, Ticks, quote_ticks, shape_gaps
from tests.synthetic.slots import DELAY, GAP_SLOT_BARS, HOVER, LEG, gap_slots

SLOTS = 60
BIRTH = {1: LEAD + 1, -1: LEAD + 1 + LEG + 3}
"""Bar of the slot on which its bullish (bearish) gap is born: after the rise, after the fall."""
TOUCH = LEAD + LEG + 4 + HOVER


def births(ticks: Ticks) -> np.ndarray:
    open_, high, low, close = ticks
    return find_births(Bars(np.arange(len(close)), open_, high, low, close, close))


def shaped(side: int, touched: bool) -> Ticks:
    """Return noisy slots that each rise and fall, of which one gap was kept."""
    length = SLOTS * GAP_SLOT_BARS
    noise = np.random.default_rng(5).standard_normal(length)
    wicks = np.random.default_rng(6).standard_exponential((2, length))
    canvas = Canvas(0.35 * noise, np.zeros(length), 0.3 * wicks[0], 0.3 * wicks[1], np.ones(length))
    plan = gap_slots(side=[side] * SLOTS, touched=[touched] * SLOTS)
    draw_gap_slots(plan, np.arange(SLOTS), canvas, noise)
    ticks = quote_ticks(canvas)
    shape_gaps(plan, np.arange(SLOTS), ticks, noise)
    return ticks


def test_prices_are_log_returns_in_whole_ticks() -> None:
    percent = np.log(1.01) / UNIT
    canvas = Canvas(
        move=np.array([0.0, percent, -percent]),
        jump=np.array([0.0, percent / 2, 0.0]),
        upper=np.array([0.0, percent, 0.0]),
        lower=np.array([percent, 0.0, 0.0]),
        activity=np.ones(3),
    )
    open_, high, low, close = quote_ticks(canvas)
    # $100 in cents; up 1%, half of it before the open; and back
    assert close.tolist() == [10_000, 10_100, 10_000]
    assert open_.tolist() == [10_000, np.rint(10_000 * np.sqrt(1.01)), 10_100]
    assert high.tolist() == [10_000, np.rint(10_100 * 1.01), 10_100]
    assert low.tolist() == [np.rint(10_000 / 1.01), np.rint(10_000 * np.sqrt(1.01)), 10_000]


@pytest.mark.parametrize("side", [1, -1])
def test_only_the_planted_gaps_are_born(side: int) -> None:
    born = births(shaped(side, touched=True))
    at = np.flatnonzero(born)
    assert set(born[at].tolist()) == {side}
    # the average body is not known before the first bars, so that the first slot may have none
    assert set((at % GAP_SLOT_BARS).tolist()) == {BIRTH[side]}
    assert len(at) >= SLOTS - 2


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("touched", [True, False])
def test_a_gap_is_touched_at_its_bar_or_not_at_all(side: int, touched: bool) -> None:
    _, high, low, _ = shaped(side, touched)
    start = GAP_SLOT_BARS * np.arange(SLOTS)
    birth, touch = start + BIRTH[side], start + TOUCH
    edge = low[birth] if side > 0 else high[birth]
    for offset in range(1, TOUCH + DELAY - BIRTH[side]):
        bar = birth + offset
        reached = low[bar] <= edge if side > 0 else high[bar] >= edge
        expected = touched & (bar == touch)
        np.testing.assert_array_equal(reached, expected, err_msg=f"{offset} bars after the birth")


def test_bars_stay_bars() -> None:
    open_, high, low, close = shaped(1, touched=True)
    assert np.all(high >= np.maximum(open_, close))
    assert np.all(low <= np.minimum(open_, close))
    assert np.all(low > 0)
