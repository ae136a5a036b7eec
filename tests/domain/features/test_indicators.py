from __future__ import annotations

import inspect
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given

from rllib_tactical.domain.features import indicators
from rllib_tactical.domain.types import Bars
from rllib_tactical.errors import FeatureError
from tests.domain.builders import tick_bars
from tests.wrong_arrays import assert_wrong_arrays_are_refused


def test_momentum_by_hand() -> None:
    close = np.array([100.0, 1.0, 1.0, 1.0, 1.0, 102.0, 0.5, 2.0])
    # t = 5: (102 - 100) / 100 = 2%; t = 6: -50% and t = 7: +100%, both clipped
    assert indicators.momentum_5(close).tolist() == [0, 0, 0, 0, 0, 2.0, -10.0, 10.0]


@pytest.mark.parametrize("length", [0, 1, 4, 5])
def test_momentum_of_a_short_history_is_zero(length: int) -> None:
    assert indicators.momentum_5(np.full(length, 7.0)).tolist() == [0.0] * length


def test_volume_ratio_by_hand() -> None:
    # EMA_0 = 21; EMA_1 = 2/21 x 42 + 19/21 x 21 = 4 + 19 = 23; EMA_2 = 19/21 x 23
    ratio = indicators.volume_ratio(np.array([21.0, 42.0, 0.0]))
    np.testing.assert_allclose(ratio, [1.0, 42.0 / 23.0, 0.0], rtol=1e-15)


def test_volume_ratio_starts_at_the_first_volume() -> None:
    # EMA_0 = V_0 = 0, so the ratio is 0; then EMA_1 = 2/21 V_1, so the ratio is 21/2
    ratio = indicators.volume_ratio(np.array([0.0, 5.0]))
    np.testing.assert_allclose(ratio, [0.0, 10.5], rtol=1e-15)
    assert indicators.volume_ratio(np.zeros(4)).tolist() == [0.0] * 4
    assert len(indicators.volume_ratio(np.zeros(0))) == 0


def test_true_range_by_hand() -> None:
    high, low = np.array([10.0, 12.0, 9.0, 11.0]), np.array([8.0, 11.0, 7.0, 9.0])
    close = np.array([9.0, 11.5, 8.0, 10.0])
    # TR_0 = 10 - 8; TR_1 = 12 - 9 (gap up); TR_2 = 11.5 - 7 (gap down); TR_3 = 11 - 8
    assert indicators.true_range(high, low, close).tolist() == [2.0, 3.0, 4.5, 3.0]


def test_atr_is_the_mean_of_the_first_14_ranges_then_wilder() -> None:
    high = np.arange(1.0, 17.0) + 100.0  # TR_t = t + 1: every bar contains the previous close
    low = np.full(16, 100.0)
    atr = indicators.wilder_atr(high, low, low)
    np.testing.assert_allclose(atr[:14], [(n + 1) / 2 for n in range(1, 15)], rtol=1e-14)
    after_15 = (7.5 * 13 + 15.0) / 14
    np.testing.assert_allclose(atr[14], after_15, rtol=1e-14)
    np.testing.assert_allclose(atr[15], (after_15 * 13 + 16.0) / 14, rtol=1e-14)


def test_mean_body_leaves_out_the_current_bar() -> None:
    body = np.arange(1.0, 25.0)
    mean = indicators.mean_body(body)
    assert mean[0] == 0.0
    assert mean[1] == 1.0
    assert mean[2] == 1.5
    assert mean[20] == np.arange(1.0, 21.0).mean()  # the first full window: bars 0..19
    assert mean[23] == np.arange(4.0, 24.0).mean()  # bars 3..22
    assert indicators.mean_body(np.zeros(1)).tolist() == [0.0]
    assert len(indicators.mean_body(np.zeros(0))) == 0


@given(tick_bars(max_size=40))
def test_ranges_are_shift_invariant_and_bounded(bars: Bars) -> None:
    atr = indicators.wilder_atr(bars.high, bars.low, bars.close)
    ranges = indicators.true_range(bars.high, bars.low, bars.close)
    shifted = indicators.wilder_atr(bars.high + 64.0, bars.low + 64.0, bars.close + 64.0)
    np.testing.assert_array_equal(atr, shifted)  # dyadic prices: exact
    assert (ranges >= bars.high - bars.low).all()
    if len(bars):
        assert (atr <= np.maximum.accumulate(ranges) * (1 + 1e-12)).all()
        assert (atr >= np.minimum.accumulate(ranges) * (1 - 1e-12)).all()


def plain_loop(step: Callable[[float, float], float], value: np.ndarray) -> np.ndarray:
    out = [float(value[0])]
    for number in value[1:].tolist():
        out.append(step(out[-1], number))
    return np.array(out)


@pytest.mark.parametrize("step", [indicators.ema_step, indicators.wilder_step])
@pytest.mark.parametrize(
    "kind",
    [
        "settles on the second pass",
        "never settles: tiny remainders of the start live on",
    ],
)
def test_lanes_give_the_bits_of_a_plain_loop(
    step: Callable[[float, float], float], kind: str
) -> None:
    length = indicators.LANE_BARS * (indicators.MIN_LANES + 8) + 17
    value = np.random.default_rng(4).lognormal(3.0, 1.0, length)
    if kind.startswith("never"):
        value[100:] = 0.0
    assert indicators._recursion(step, value).tobytes() == plain_loop(step, value).tobytes()


def test_wrong_arrays_are_refused() -> None:
    column = np.arange(1.0, 31.0)
    for of_one in (indicators.momentum_5, indicators.volume_ratio, indicators.mean_body):
        (name,) = inspect.signature(of_one).parameters
        assert_wrong_arrays_are_refused(of_one, FeatureError, **{name: column})
    for of_three in (indicators.true_range, indicators.wilder_atr):
        assert_wrong_arrays_are_refused(
            of_three, FeatureError, high=column, low=column, close=column
        )
