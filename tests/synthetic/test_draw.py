from __future__ import annotations

import numpy as np
import pytest

from rllib_tactical.synthetic.draw import (
    Canvas,
    draw_burst_slots,
    draw_gap_slots,
    pull_back,
    steps,
)
from rllib_tactical.synthetic.plan import BREAKS_BACK, BREAKS_OUT, COMPLETE, MOMENTUM
from tests.synthetic.slots import GAP_SLOT_BARS, HOVER, LEG, gap_slots

FIRST = 2  # the first impulse
SECOND = FIRST + LEG + 3


def blank(length: int) -> Canvas:
    return Canvas(
        move=np.zeros(length),
        jump=np.zeros(length),
        upper=np.full(length, 0.3),
        lower=np.full(length, 0.3),
        activity=np.ones(length),
    )


def drawn(fate: int, order: int = 1, noise: float = 0.0) -> Canvas:
    canvas = blank(GAP_SLOT_BARS)
    plan = gap_slots(fate=[fate], order=[order])
    draw_gap_slots(plan, np.array([0]), canvas, np.full(GAP_SLOT_BARS, noise))
    return canvas


def test_steps_are_the_first_of_each_slot() -> None:
    offset, inside = steps(3, np.array([1, 3, 0]))
    assert offset.tolist() == [[0, 1, 2]]
    assert inside.tolist() == [[True, False, False], [True, True, True], [False, False, False]]


@pytest.mark.parametrize("order", [1, -1])
def test_a_complete_gap_slot_goes_there_on_and_back(order: int) -> None:
    canvas = drawn(COMPLETE, order)
    expected = np.zeros(GAP_SLOT_BARS)
    expected[FIRST] = 2.0 * order  # the impulse
    expected[FIRST + 2 + LEG // 2] = 1.5 * order  # the leg's displacement, a single jump
    expected[SECOND] = -1.5 * order
    np.testing.assert_allclose(canvas.move, expected)
    np.testing.assert_allclose(
        canvas.jump, np.where(expected == 1.5 * order, expected, 0.0), err_msg="between two bars"
    )
    # both impulses leave a gap: tight wicks around the body, the near edge 0.4 behind it
    behind = {1: canvas.lower, -1: canvas.upper}
    assert behind[order][FIRST + 1] == pytest.approx(0.4)
    assert behind[-order][SECOND + 1] == pytest.approx(0.4)
    assert canvas.upper[FIRST] == canvas.lower[FIRST] == canvas.upper[SECOND] == 0.06
    # the touch has volume, whether the gap is touched or not
    assert canvas.activity[SECOND + 1 + HOVER] == 1.9


def test_the_leg_ends_where_its_noise_does_not_lead() -> None:
    """The displacement is net of the leg's noise, so that nothing before it tells its size."""
    canvas = drawn(COMPLETE, noise=1.0)
    assert canvas.move[FIRST + 1 : FIRST + 2 + LEG].sum() == pytest.approx(1.5)


@pytest.mark.parametrize("order", [1, -1])
def test_both_forks_are_fair(order: int) -> None:
    leap = FIRST + 2 + LEG // 2
    on, back = (drawn(fate, order).jump[leap] for fate in (COMPLETE, BREAKS_BACK))
    assert 0.7 * on + 0.3 * back == pytest.approx(0.0)
    turned, out = (drawn(fate, order).move[SECOND] for fate in (COMPLETE, BREAKS_OUT))
    assert 0.7 * turned + 0.3 * out == pytest.approx(0.0)
    assert np.sign(out) == order


def test_the_price_stays_near_the_gap_while_it_hovers() -> None:
    canvas = blank(GAP_SLOT_BARS)
    noise = np.random.default_rng(3).standard_normal(GAP_SLOT_BARS) * 5.0
    draw_gap_slots(gap_slots(), np.array([0]), canvas, noise)
    level = np.cumsum(canvas.move)
    birth = SECOND + 1
    hover = level[birth + 1 : birth + 1 + HOVER + 1] - level[birth] + canvas.move[birth]
    assert np.abs(hover).max() <= 0.25 + 1e-12
    assert np.ptp(hover) > 0.1


def test_a_strong_burst_ends_on_volume_and_has_the_sign_of_its_sum() -> None:
    plan = gap_slots(family=[MOMENTUM] * 3, start=[0, 10, 20])
    canvas, noise = blank(30), np.zeros(30)
    noise[2:7] = [1.0, 1.0, -0.5, 0.5, 0.0]  # 1.1 * 2.0 = 2.2
    noise[12:17] = -0.4  # 1.1 * -2.0 = -2.2
    noise[22:27] = 0.36  # 1.1 * 1.8 = 1.98: not strong
    side = draw_burst_slots(plan, np.array([0, 1, 2]), canvas, noise)
    assert side.tolist() == [1, -1, 0]
    np.testing.assert_allclose(canvas.move[2:7], [1.1, 1.1, -0.55, 0.55, 0.0])
    assert canvas.activity[[6, 16, 26]].tolist() == [4.0, 4.0, 1.0]
    assert canvas.activity[[5, 7, 15, 25]].tolist() == [1.0] * 4


def test_the_price_is_pulled_back_in_the_quiet_bars_by_a_hundredth_of_its_distance() -> None:
    plan = gap_slots(start=[0, 6, 12], length=[6, 6, 6], rest=[4, 4, 4])
    move = np.zeros(18)
    move[0], move[6] = 10.0, 2.0
    pull_back(plan, move)
    # each slot gives back a hundredth of where the price was when it began: 0, 10, 10 + 2 - 0.1
    expected = np.zeros(18)
    expected[0], expected[6] = 10.0, 2.0
    expected[8:12] = -0.1 / 4
    expected[14:18] = -0.119 / 4
    np.testing.assert_allclose(move, expected, atol=1e-12)
