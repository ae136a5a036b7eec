from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import numpy as np
import pytest

from rllib_tactical.domain.decision.orders import OrderConfig, bracket
from rllib_tactical.domain.decision.risk import (
    AccountView,
    RiskConfig,
    limit_orders,
    risk_per_lot,
    session_drawdown,
    session_limits,
)
from rllib_tactical.domain.types import AnyArray, Instrument, Reason
from rllib_tactical.errors import ArrayError, ConfigError
from tests.domain.builders import COIN, FREE, FUTURE, SHARE
from tests.wrong_arrays import assert_wrong_arrays_are_refused

CONFIG = RiskConfig()


def view(**changes: Any) -> AccountView:
    values = dict(
        equity=100_000.0,
        session_peak=100_000.0,
        position_side=0,
        position_quantity=0.0,
        halted=False,
        tradable=True,
    )
    return AccountView(**{name: np.array([v]) for name, v in (values | changes).items()})


def limit(
    quantity: float,
    account: AccountView,
    side: int = 1,
    price: float = 100.0,
    stop: float | None = None,
    target: float = 80.0,
    atr: float = 5.0,
    instrument: Instrument = FREE,
    config: RiskConfig = CONFIG,
) -> tuple[float, str]:
    where = price - side * 10.0 if stop is None else stop
    order = {"side": side, "quantity": quantity, "price": price, "stop": where, "target": target}
    allowed, reason = limit_orders(
        **{name: np.array([value]) for name, value in {**order, "atr": atr}.items()},
        account=account,
        instrument=instrument,
        config=config,
    )
    return float(allowed[0]), Reason(int(reason[0])).code


def test_drawdown_by_hand() -> None:
    drawdown = session_drawdown(np.array([98_000.0, 100_000.0]), np.array([100_000.0, 100_000.0]))
    np.testing.assert_array_equal(drawdown, [0.02, 0.0])


def test_risk_per_lot_by_hand() -> None:
    # 10 points x $50, plus twice (0.75 x 0.25 points x $50 + $2.25)
    per_lot = risk_per_lot(np.array([100.0]), np.array([90.0]), np.array([5.0]), FUTURE)
    np.testing.assert_allclose(per_lot, [500.0 + 2 * (9.375 + 2.25)], rtol=1e-14)


def test_size_within_the_limits_passes() -> None:
    assert limit(3.0, view()) == (3.0, "execute")


def test_share_of_the_remaining_drawdown_limits_size() -> None:
    # one lot loses 10 points x $10 = $100; the session may lose $2,000, 80% of it is 16 lots
    assert limit(50.0, view()) == (16.0, "execute")
    assert limit(16.0, view()) == (16.0, "execute")
    # $500 left of the session's loss: 80% is 4 lots
    assert limit(50.0, view(equity=98_500.0)) == (4.0, "execute")
    assert limit(50.0, view(equity=98_120.0)) == (0.0, "risk_limit")  # 80% of 120 is below $100


def test_risk_per_trade_limits_size() -> None:
    # 2% of 100,000 is 20 lots when the session's drawdown leaves more room
    roomy = RiskConfig(session_drawdown_limit=0.5)
    assert limit(50.0, view(), config=roomy) == (20.0, "execute")
    assert limit(50.0, view(equity=90_000.0), config=roomy) == (18.0, "execute")


def test_costs_count_as_risk() -> None:
    # per lot $100 + 2 x $5 = $110: 1,600 / 110 = 14.5
    costly = dataclasses.replace(FREE, commission_per_lot=5.0)
    assert limit(50.0, view(), instrument=costly) == (14.0, "execute")


def test_leverage_limits_size() -> None:
    # price 40,000 x $10: 5 x 100,000 / 400,000 is 1 lot; at 60,000 it is none
    assert limit(9.0, view(), price=40_000.0) == (1.0, "execute")
    assert limit(9.0, view(), price=60_000.0) == (0.0, "leverage_limit")


def test_same_side_is_already_positioned() -> None:
    held = view(position_side=1, position_quantity=2.0)
    assert limit(3.0, held) == (0.0, "already_positioned")
    assert limit(3.0, held, side=-1) == (2.0, "close_opposite")


def test_risk_is_checked_before_the_position() -> None:
    held = view(position_side=1, position_quantity=2.0, equity=98_000.0)
    assert limit(3.0, held) == (0.0, "risk_limit")
    rich = view(position_side=1, position_quantity=2.0)
    assert limit(3.0, rich, price=60_000.0) == (0.0, "leverage_limit")


@pytest.mark.parametrize("equity", [98_001.0, 50_000.0, 1.0, -5_000.0])
def test_closing_is_allowed_whatever_is_left(equity: float) -> None:
    held = view(position_side=-1, position_quantity=7.0, equity=equity)
    assert limit(1.0, held, price=60_000.0) == (7.0, "close_opposite")


def test_halted_and_closed_sessions_refuse_everything() -> None:
    for held in ({}, dict(position_side=1, position_quantity=1.0)):
        for side in (1, -1):
            assert limit(1.0, view(halted=True, **held), side) == (0.0, "session_halted")
            assert limit(1.0, view(tradable=False, **held), side) == (0.0, "session_closed")
            both = view(halted=True, tradable=False, **held)
            assert limit(1.0, both, side) == (0.0, "session_halted")


def test_no_order_without_a_real_stop() -> None:
    # a stop that is rounded to the price protects nothing, whatever its costs are
    free = dataclasses.replace(FREE, commission_per_lot=0.0)
    assert limit(1.0, view(), stop=100.0, atr=0.0, instrument=free) == (0.0, "risk_limit")
    assert limit(1.0, view(), stop=99.875, atr=0.1) == (0.0, "risk_limit")  # half a tick
    assert limit(1.0, view(), stop=99.75, atr=0.1) == (1.0, "execute")


@pytest.mark.parametrize("what", ["equity", "session_peak", "price", "stop", "atr"])
def test_unknown_state_means_no_order(what: str) -> None:
    costly = dataclasses.replace(FREE, slippage_atr_share=0.1)
    changes = {what: float("nan")} if what in ("equity", "session_peak") else {}
    values: dict[str, Any] = {what: float("nan")} if not changes else {}
    quantity, reason = limit(1.0, view(**changes), instrument=costly, **values)
    assert (quantity, reason) == (0.0, "risk_limit")


def test_equity_below_zero_means_no_order() -> None:
    assert limit(1.0, view(equity=-1.0)) == (0.0, "account_lost")
    held = view(equity=-1.0, position_side=1, position_quantity=2.0)
    assert limit(1.0, held) == (0.0, "risk_limit")


@pytest.mark.parametrize(
    "field", ["max_risk_per_trade", "session_drawdown_limit", "drawdown_share_per_trade"]
)
@pytest.mark.parametrize("value", [0.0, -0.1, 1.01, float("nan")])
def test_config_shares_out_of_range(field: str, value: float) -> None:
    values: dict[str, Any] = {field: value}
    with pytest.raises(ConfigError, match=f"risk.{field}"):
        RiskConfig(**values)


@pytest.mark.parametrize("field", ["initial_equity", "max_leverage"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_config_amounts_out_of_range(field: str, value: float) -> None:
    values: dict[str, Any] = {field: value}
    with pytest.raises(ConfigError, match=f"risk.{field}"):
        RiskConfig(**values)


def random_states(
    rng: np.random.Generator, instrument: Instrument, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, AccountView]:
    """Return side, requested quantity, price, stop, ATR and accounts in all sorts of states."""
    price = np.exp(rng.uniform(np.log(1.0), np.log(100_000.0), count))
    price = np.rint(price / instrument.tick_size) * instrument.tick_size
    price = np.maximum(price, instrument.tick_size)
    atr = price * np.exp(rng.uniform(np.log(1e-6), np.log(0.05), count))
    side = rng.choice([1, -1], count)
    stop, _ = bracket(price, side, atr, instrument, OrderConfig())
    lots = np.exp(rng.uniform(0.0, np.log(1e6), count))
    quantity = np.maximum(np.floor(lots), 1.0) * instrument.lot_step
    peak = np.exp(rng.uniform(np.log(1e3), np.log(1e7), count))
    equity = peak * np.where(
        rng.random(count) < 0.8, rng.uniform(0.98, 1.0, count), rng.uniform(-0.2, 0.98, count)
    )
    held = rng.choice([-1, 0, 0, 1], count)
    account = AccountView(
        equity=equity,
        session_peak=peak,
        position_side=held,
        position_quantity=np.where(held != 0, np.ceil(rng.uniform(0, 50, count)), 0.0),
        halted=rng.random(count) < 0.05,
        tradable=rng.random(count) > 0.05,
    )
    return side, quantity, price, stop, atr, account


@pytest.mark.parametrize("instrument", [FREE, FUTURE, SHARE, COIN], ids=lambda i: i.symbol)
def test_no_limit_is_broken_in_a_million_states(instrument: Instrument) -> None:
    """250,000 states for each of four instruments; the limits are recomputed from the text."""
    rng = np.random.default_rng(20240601)
    side, wanted, price, stop, atr, account = random_states(rng, instrument, 250_000)
    quantity, reason = limit_orders(
        side, wanted, price, stop, price, atr, account, instrument, CONFIG
    )

    ticks = instrument.half_spread_ticks + instrument.slippage_ticks
    worse = ticks * instrument.tick_size + instrument.slippage_atr_share * atr
    loss = np.abs(price - stop) * instrument.point_value
    loss += 2.0 * worse * instrument.point_value + 2.0 * instrument.commission_per_lot
    left = account.equity - 0.98 * account.session_peak
    budget = np.minimum(0.02 * account.equity, 0.8 * left)
    capital = 5.0 * account.equity
    slack = 1.0 + 1e-6

    opens = reason == Reason.EXECUTE
    assert opens.sum() > 10_000
    assert (quantity[opens] * loss[opens] <= budget[opens] * slack).all()
    notional = quantity * price * instrument.point_value
    assert (notional[opens] <= capital[opens] * slack).all()
    assert (quantity[opens] <= wanted[opens]).all()
    assert (quantity[opens] >= instrument.lot_step).all()
    steps = quantity[opens] / instrument.lot_step
    np.testing.assert_allclose(steps, np.rint(steps), rtol=1e-9)
    assert (account.position_side[opens] == 0).all()
    assert not (account.halted | ~account.tradable)[opens].any()
    # nothing is refused or reduced more than a limit asks: one more lot would break one
    more = quantity + instrument.lot_step
    reduced = opens & (quantity < wanted)
    breaks = (more * loss > budget / slack) | (
        more * price * instrument.point_value > capital / slack
    )
    assert reduced.sum() > 1_000
    assert breaks[reduced].all()
    protected = np.abs(price - stop) > 0.5 * instrument.tick_size
    refused = (reason == Reason.RISK_LIMIT) & protected
    assert (instrument.lot_step * loss[refused] > budget[refused] / slack).all()

    closes = reason == Reason.CLOSE_OPPOSITE
    may = ~account.halted & account.tradable
    np.testing.assert_array_equal(closes, may & (account.position_side == -side))
    np.testing.assert_array_equal(quantity[closes], account.position_quantity[closes])
    assert (quantity[~opens & ~closes] == 0.0).all()
    lost = (account.equity <= 0) & (account.position_side == 0)
    assert (reason[lost] == Reason.ACCOUNT_LOST).all()
    assert (reason[account.halted & ~lost] == Reason.SESSION_HALTED).all()
    assert (reason == Reason.RISK_LIMIT).any()
    assert (reason == Reason.ALREADY_POSITIONED).any()
    if instrument.lot_step == 1.0:  # a thousandth of a coin is always affordable here
        assert (reason == Reason.LEVERAGE_LIMIT).any()


@pytest.mark.parametrize(
    ("stop", "target"), [(0.0, 60.0), (-0.01, 60.0), (20.0, 0.0), (20.0, -5.0)]
)
def test_levels_at_or_below_zero_refuse_an_entry(stop: float, target: float) -> None:
    assert limit(1.0, view(), price=10.0, stop=stop, target=target) == (0.0, "level_not_positive")
    held = view(position_side=-1, position_quantity=2.0)
    assert limit(1.0, held, price=10.0, stop=stop, target=target) == (2.0, "close_opposite")
    closed = view(tradable=False)
    assert limit(1.0, closed, price=10.0, stop=stop, target=target) == (0.0, "session_closed")


@pytest.mark.parametrize("equity", [0.0, -5_000.0])
def test_an_account_without_equity_is_lost(equity: float) -> None:
    for halted in (False, True):
        lost = view(equity=equity, session_peak=equity, halted=halted)
        assert limit(1.0, lost) == (0.0, "account_lost")
    lost = view(equity=equity, session_peak=equity, position_side=-1, position_quantity=2.0)
    assert limit(1.0, lost) == (2.0, "close_opposite")
    peak, halted_now = session_limits(
        np.array([equity]),
        np.array([equity]),
        np.array([100_000.0]),
        np.array([False]),
        np.array([True]),
        CONFIG,
    )
    assert (peak[0], halted_now[0]) == (equity, True)


def test_rebates_do_not_make_the_loss_at_the_stop_smaller() -> None:
    # one lot loses 10 points x $10; $1,600 allow 16 lots, also where trading earns $80 a lot
    paid = dataclasses.replace(FREE, commission_per_lot=-40.0)
    assert limit(50.0, view(), instrument=paid) == (16.0, "execute")
    # half a spread of 2 ticks x 0.25 x $10 a side, less a rebate of $1: $8 in all
    some = dataclasses.replace(FREE, half_spread_ticks=2.0, commission_per_lot=-1.0)
    assert limit(50.0, view(), instrument=some) == (14.0, "execute")


def test_wrong_arrays_are_refused() -> None:
    equity, lots = np.full(3, 100_000.0), np.ones(3)
    side, never = np.array([1, -1, 1]), np.zeros(3, dtype=np.bool_)
    account = {
        "equity": equity,
        "session_peak": equity,
        "position_side": np.zeros(3, dtype=np.int64),
        "position_quantity": np.zeros(3),
        "halted": never,
        "tradable": ~never,
    }
    price, stop = np.full(3, 100.0), np.full(3, 90.0)

    def limited(**arrays: AnyArray) -> None:
        view = AccountView(**{name: arrays.pop(name) for name in account})
        limit_orders(account=view, instrument=FUTURE, config=CONFIG, **arrays)

    assert_wrong_arrays_are_refused(
        limited, side=side, quantity=lots, price=price, stop=stop, target=price, atr=lots, **account
    )
    assert_wrong_arrays_are_refused(session_drawdown, equity=equity, session_peak=equity)
    assert_wrong_arrays_are_refused(
        partial(session_limits, config=CONFIG),
        equity=equity,
        equity_before=equity,
        session_peak=equity,
        halted=never,
        new_session=never,
    )
    assert_wrong_arrays_are_refused(
        partial(risk_per_lot, instrument=FUTURE), price=price, stop=stop, atr=lots
    )


def test_full_places_refuse_a_position_and_close_none() -> None:
    assert limit(3.0, view(full=True)) == (0.0, "positions_limit")
    assert limit(3.0, view(full=False)) == (3.0, "execute")
    held = view(full=True, position_side=-1, position_quantity=2.0)
    assert limit(3.0, held) == (2.0, "close_opposite")
    same = view(full=True, position_side=1, position_quantity=2.0)
    assert limit(3.0, same) == (0.0, "already_positioned")
    assert limit(3.0, view(full=True, halted=True)) == (0.0, "session_halted")
    assert limit(9.0, view(full=True), price=60_000.0) == (0.0, "leverage_limit")


def test_places_are_asked_of_each_account_and_their_shape_is_checked() -> None:
    account = view(full=True)
    account.require(1)
    np.testing.assert_array_equal(account.take(np.array([0, 0])).full, [True, True])
    assert view().take(np.array([0])).full is None
    account.full = np.array([1])
    with pytest.raises(ArrayError, match=r"account\.full"):
        account.require(1)
