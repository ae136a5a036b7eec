from __future__ import annotations

import dataclasses
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rllib_tactical.domain.decision.orders import (
    OrderConfig,
    bracket,
    floor_to_lot,
    requested_quantity,
    round_to_tick,
)
from rllib_tactical.domain.types import Instrument
from rllib_tactical.errors import ArrayError, ConfigError, OrderError
from tests.domain.builders import COIN, FUTURE
from tests.wrong_arrays import assert_wrong_arrays_are_refused

CONFIG = OrderConfig()


def test_bracket_by_hand() -> None:
    stop, target = bracket(
        np.array([100.0, 100.0]), np.array([1, -1]), np.array([1.3, 1.3]), FUTURE, CONFIG
    )
    # 100 -/+ 2 x 1.3 = 97.4 and 102.6, 100 +/- 3 x 1.3 = 103.9 and 96.1, on quarters
    assert stop.tolist() == [97.5, 102.5]
    assert target.tolist() == [104.0, 96.0]


def test_bracket_of_a_hold_is_the_price() -> None:
    stop, target = bracket(np.array([100.0]), np.array([0]), np.array([1.0]), FUTURE, CONFIG)
    assert (stop[0], target[0]) == (100.0, 100.0)


@given(st.integers(1, 10**6), st.sampled_from([0.25, 0.01, 0.1, 0.00001, 0.05, 1.0]))
def test_prices_on_the_tick_stay_where_they_are(ticks: int, tick_size: float) -> None:
    price = np.array([round(ticks * tick_size, 10)])
    assert round_to_tick(price, tick_size)[0] == price[0]
    off = round_to_tick(price + 0.4 * tick_size, tick_size)
    assert off[0] == price[0]
    up = round_to_tick(price + 0.6 * tick_size, tick_size)
    assert up[0] == round((ticks + 1) * tick_size, 10)


def test_half_a_tick_goes_to_the_even_tick() -> None:
    prices = np.array([100.125, 100.375])
    assert round_to_tick(prices, 0.25).tolist() == [100.0, 100.5]
    # so that reflected prices round to reflected ticks
    assert (200.0 - round_to_tick(200.0 - prices, 0.25)).tolist() == [100.0, 100.5]


def test_floor_to_lot() -> None:
    quantity = np.array([0.0029999, 0.003, 0.0039, 3 * 0.001 - 1e-16])
    assert floor_to_lot(quantity, 0.001).tolist() == [0.002, 0.003, 0.003, 0.003]
    assert floor_to_lot(np.array([1.99, 2.0]), 1.0).tolist() == [1.0, 2.0]


@pytest.mark.parametrize("tick", [1e-12, 2.5e-12, 1e-8, 0.3, 1 / 32, 5.0])
def test_ticks_of_any_size_round_to_the_decimal_number(tick: float) -> None:
    price = np.array([7.4, 7.6, 123_456.4]) * tick
    numbers = [float(Fraction(repr(tick)) * steps) for steps in (7, 8, 123_456)]
    assert round_to_tick(price, tick).tolist() == numbers
    assert floor_to_lot(price, tick).tolist() == [numbers[0], numbers[0], numbers[2]]
    assert floor_to_lot(np.array(numbers), tick).tolist() == numbers


def test_many_small_lots_lose_no_step_to_the_quotient() -> None:
    lots = 162_239_138.846
    assert lots / 0.001 == 162_239_138_845.99997
    assert floor_to_lot(np.array([lots]), 0.001)[0] == lots


def quantity_of(
    score: float, aggressive: bool, instrument: Instrument, config: OrderConfig = CONFIG
) -> float:
    return float(
        requested_quantity(np.array([score]), np.array([aggressive]), instrument, config)[0]
    )


@pytest.mark.parametrize(
    ("score", "aggressive", "expected"),
    [
        (0.8, False, 0.529),
        (1.0, False, 0.529),  # capped at 1.0
        (1.0, True, 0.661),  # 0.529 x 1.25 = 0.66125
        (0.65, False, 0.429),  # 0.529 x 0.8125 = 0.4298125
        (0.65, True, 0.429),
        (0.0001, False, 0.001),  # at least one lot step
    ],
)
def test_requested_quantity_by_hand(score: float, aggressive: bool, expected: float) -> None:
    assert quantity_of(score, aggressive, COIN) == expected


def test_aggressive_is_capped_at_one_and_a_half() -> None:
    config = OrderConfig(full_size_confidence=0.5)
    assert quantity_of(1.0, True, dataclasses.replace(FUTURE, base_quantity=10.0), config) == 15.0


def test_one_contract_is_never_floored_to_nothing() -> None:
    assert quantity_of(0.65, False, FUTURE) == 1.0


def test_unresolved_base_quantity() -> None:
    with pytest.raises(OrderError, match="SYMBOL: base_quantity must be set"):
        quantity_of(0.8, False, Instrument(symbol="SYMBOL", tick_size=1.0))


@pytest.mark.parametrize(
    "field", ["stop_atr", "target_atr", "full_size_confidence", "cap_execute", "cap_aggressive"]
)
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_config_out_of_range(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"orders.{field}"):
        OrderConfig(**{field: value})


def test_wrong_arrays_are_refused() -> None:
    assert_wrong_arrays_are_refused(
        partial(bracket, instrument=FUTURE, config=CONFIG),
        price=np.array([100.0, 101.0]),
        side=np.array([1, -1]),
        atr=np.array([1.0, 2.0]),
    )
    assert_wrong_arrays_are_refused(
        partial(requested_quantity, instrument=FUTURE, config=CONFIG),
        score=np.array([0.7, 0.8]),
        aggressive=np.array([True, False]),
    )
    whole: Any = np.array([100, 101])
    for function in (round_to_tick, floor_to_lot):
        with pytest.raises(ArrayError, match=r"must be a float64 array .* found an int64 array"):
            function(whole, 0.25)
