from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np

from rllib_tactical.domain.decision import costs
from rllib_tactical.domain.types import Instrument
from tests.wrong_arrays import assert_wrong_arrays_are_refused

PAID = Instrument(
    symbol="X",
    tick_size=0.25,
    point_value=50.0,
    commission_per_lot=2.5,
    half_spread_ticks=0.5,
    slippage_ticks=1.5,
    slippage_atr_share=0.1,
)
ATR = np.array([0.0, 4.0])


def test_adverse_move_by_hand() -> None:
    # (0.5 + 1.5) x 0.25 = 0.5, plus 0.1 x ATR
    np.testing.assert_allclose(costs.adverse_move(ATR, PAID), [0.5, 0.9], rtol=1e-14)


def test_buys_pay_more_and_sells_receive_less() -> None:
    price, side = np.array([100.0, 100.0]), np.array([1, -1])
    atr = np.array([4.0, 4.0])
    np.testing.assert_allclose(
        costs.market_fill(price, side, costs.adverse_move(atr, PAID)), [100.9, 99.1], rtol=1e-14
    )


def test_commission_is_per_lot() -> None:
    np.testing.assert_allclose(costs.commission(np.array([0.0, 3.0]), PAID), [0.0, 7.5])


def test_a_rebate_is_received_and_not_raised_by_a_factor() -> None:
    maker = dataclasses.replace(PAID, commission_per_lot=-2.0)
    quantity, factor = np.array([3.0, 3.0, 3.0]), np.array([0.0, 1.0, 2.0])
    assert costs.commission(quantity, maker, factor).tolist() == [0.0, -6.0, -6.0]
    assert costs.commission(quantity, PAID, factor).tolist() == [0.0, 7.5, 15.0]
    # two sides of 0.5 points x $50 - $2
    np.testing.assert_allclose(costs.round_trip_cost_per_lot(ATR[:1], maker), [46.0], rtol=1e-14)


def test_round_trip_by_hand() -> None:
    # two sides of 0.5 points x $50 + $2.50 = $55; with ATR 4: two of 0.9 x $50 + $2.50 = $95
    np.testing.assert_allclose(costs.round_trip_cost_per_lot(ATR, PAID), [55.0, 95.0], rtol=1e-14)


def test_round_trip_is_what_buying_and_selling_at_one_price_loses() -> None:
    price, quantity = np.array([100.0, 100.0]), np.array([2.0, 3.0])
    buy = costs.market_fill(price, np.ones(2, dtype=np.int64), costs.adverse_move(ATR, PAID))
    sell = costs.market_fill(price, -np.ones(2, dtype=np.int64), costs.adverse_move(ATR, PAID))
    lost = (buy - sell) * quantity * PAID.point_value + 2 * costs.commission(quantity, PAID)
    np.testing.assert_allclose(
        lost, quantity * costs.round_trip_cost_per_lot(ATR, PAID), rtol=1e-12
    )


def test_wrong_arrays_are_refused() -> None:
    for function in (costs.adverse_move, costs.round_trip_cost_per_lot):
        assert_wrong_arrays_are_refused(partial(function, instrument=PAID), atr=ATR)
    assert_wrong_arrays_are_refused(
        costs.market_fill, price=np.ones(2), side=np.array([1, -1]), adverse=ATR
    )
    assert_wrong_arrays_are_refused(
        partial(costs.commission, instrument=PAID), quantity=np.ones(2), factor=np.ones(2)
    )
