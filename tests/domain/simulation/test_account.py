from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rllib_tactical.domain.decision import costs
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.risk import RiskConfig
from rllib_tactical.domain.decision.votes import Votes
from rllib_tactical.domain.simulation.account import (
    Account,
    account_view,
    apply_fill,
    mark_account,
    move_cash,
    take_position,
)
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.simulation.simulator import Simulator
from rllib_tactical.domain.types import Instrument
from tests.domain.builders import COIN, FUTURE, SHARE, history_of, random_bars, random_sessions

RISK = RiskConfig()
OPENED = Account.opened(100_000.0)


def test_a_round_trip_by_hand() -> None:
    account, pnl = apply_fill(OPENED, 1, 2.0, 100.0, 4.0, 50.0)
    assert pnl is None
    assert (account.cash, account.side, account.quantity) == (99_996.0, 1, 2.0)
    assert account.equity_at(101.0, 50.0) == 99_996.0 + 2 * 50
    marked = mark_account(account, 99.0, False, 50.0, RISK)
    assert (marked.equity, marked.session_peak, marked.halted) == (99_896.0, 100_000.0, False)
    flat, pnl = apply_fill(marked, -1, 2.0, 103.0, 4.0, 50.0)
    assert pnl == 3 * 2 * 50 - 8
    assert (flat.cash, flat.side, flat.quantity) == (100_292.0, 0, 0.0)


def test_partial_fills_average_and_one_fill_can_turn_around() -> None:
    account, _ = apply_fill(OPENED, -1, 1.0, 100.0, 1.0, 1.0)
    account, _ = apply_fill(account, -1, 3.0, 104.0, 3.0, 1.0)
    assert (account.quantity, account.entry_price) == (4.0, 103.0)
    account, pnl = apply_fill(account, 1, 1.0, 102.0, 1.0, 1.0)
    assert pnl is None
    assert (account.quantity, account.side) == (3.0, -1)
    turned, pnl = apply_fill(account, 1, 6.0, 101.0, 6.0, 1.0)
    # one lot earned 1, three earned 2 each; fees 1 + 3 + 1 and half of the last 6
    assert pnl == 1 + 6 - 8
    assert (turned.side, turned.quantity, turned.entry_price) == (1, 3.0, 101.0)
    assert turned.cash == 100_000 + 7 - 11
    assert turned.entry_cash == 100_000 - 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bought", "sold"),
    [
        ([33_333_333.1] * 3, [99_999_999.3]),
        ([33_333_333.1] * 3, [99_999_999.0, 0.3]),
        ([1_234_567.1, 7_654_321.7, 111_111.3], [9_000_000.1]),
        ([14_000_000.1] * 7, [98_000_000.7]),
        ([0.1, 0.2], [0.3]),
        ([0.1] * 100_000, [10_000.0]),
        ([1e-7] * 3, [3e-7]),
    ],
)
def test_a_position_filled_in_parts_and_closed_is_flat(
    bought: list[float], sold: list[float]
) -> None:
    for side in (1, -1):
        account, pnl = OPENED, None
        for quantity in bought:
            account, pnl = apply_fill(account, side, quantity, 1e-5, 0.0, 1.0)
        for quantity in sold:
            assert pnl is None
            account, pnl = apply_fill(account, -side, quantity, 1e-5, 0.0, 1.0)
        assert (account.side, account.quantity, account.largest) == (0, 0.0, 0.0)
        assert pnl == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("rest", [1e-10, 0.001])
def test_what_can_be_held_is_not_dust(rest: float) -> None:
    bought = 1e6 * rest
    account, _ = apply_fill(OPENED, 1, bought, 100.0, 0.0, 1.0)
    account, pnl = apply_fill(account, -1, bought - rest, 100.0, 0.0, 1.0)
    assert pnl is None
    assert account.quantity == pytest.approx(rest, rel=1e-6)


@pytest.mark.parametrize("instrument", [FUTURE, SHARE, COIN], ids=lambda item: item.symbol)
@pytest.mark.parametrize("seed", range(3))
def test_equals_the_simulator_bit_for_bit(instrument: Instrument, seed: int) -> None:
    rng = np.random.default_rng(seed)
    bars = random_bars(rng, 1_500, volatility=6.0)
    sessions = random_sessions(rng, len(bars))
    large = dataclasses.replace(instrument, base_quantity=200.0 / instrument.point_value)
    history = history_of(bars, sessions, large)
    rules = Rules(risk=RiskConfig(session_drawdown_limit=0.01, max_leverage=50.0))
    simulator = Simulator(history, rules, RewardConfig(), 1)
    simulator.reset(np.array([0]), np.array([60]))
    account = Account.opened(rules.risk.initial_equity)
    point = instrument.point_value
    trades = halts = 0
    for t in range(60, len(bars) - 1):
        index = rng.choice([0, 2]) if rng.random() < 0.5 else 1
        votes = Votes(np.array([[index, index, 2]]), np.full((1, 3), 0.95))
        step = simulator.step(votes)
        fills: list[tuple[int, float, float]] = []
        if step.exited[0] and not step.entered[0]:
            fills.append((-int(step.trade_side[0]), step.quantity[0], step.exit_price[0]))
        if step.entered[0]:
            side = int(step.decision.action[0])
            fills.append((side, float(step.decision.quantity[0]), float(step.entry_price[0])))
            if step.exited[0]:
                fills.append((-side, float(step.quantity[0]), float(step.exit_price[0])))
        for side, quantity, price in fills:
            fee = float(costs.commission(np.array([quantity]), instrument)[0])
            account, pnl = apply_fill(
                account, side, float(quantity), float(price), fee, instrument.point_value
            )
            if pnl is not None:
                assert pnl == step.trade_pnl[0]
                trades += 1
        first = bool(sessions.is_first[t + 1])
        account = mark_account(account, float(bars.close[t + 1]), first, point, rules.risk)
        assert account.cash == simulator.cash[0]
        assert account.equity == simulator.equity[0]
        assert account.session_peak == simulator.session_peak[0]
        assert account.halted == simulator.halted[0]
        view, expected = (
            account_view(account, float(bars.close[t + 1]), True, point, rules.risk),
            simulator.view(),
        )
        for name in ("equity", "session_peak", "position_side", "position_quantity", "halted"):
            assert getattr(view, name).tobytes() == getattr(expected, name).tobytes()
        halts += account.halted
    assert trades > 10
    assert halts > 0 or instrument is not SHARE


FILLS = st.lists(
    st.tuples(st.sampled_from([1, -1]), st.integers(1, 8), st.integers(50, 150), st.integers(0, 3)),
    max_size=30,
)


@given(fills=FILLS)
def test_cash_position_and_trades_agree_with_plain_sums(
    fills: list[tuple[int, int, int, int]],
) -> None:
    account, realized = OPENED, 0.0
    for side, quantity, price, fee in fills:
        account, pnl = apply_fill(account, side, float(quantity), float(price), float(fee), 2.0)
        realized += pnl or 0.0
    held = sum(side * quantity for side, quantity, _, _ in fills)
    paid = sum(2.0 * side * quantity * price + fee for side, quantity, price, fee in fills)
    assert account.side * account.quantity == held
    assert account.equity_at(77.0, 2.0) == pytest.approx(100_000.0 - paid + 2.0 * held * 77.0)
    if held == 0:
        assert realized == pytest.approx(account.cash - 100_000.0)


@given(fills=FILLS)
def test_mirrored_fills_earn_the_same(fills: list[tuple[int, int, int, int]]) -> None:
    account = mirror = OPENED
    for side, quantity, price, fee in fills:
        account, pnl = apply_fill(account, side, float(quantity), float(price), float(fee), 2.0)
        mirror, other = apply_fill(mirror, -side, float(quantity), 200.0 - price, float(fee), 2.0)
        assert (pnl is None) == (other is None)
    assert mirror.side == -account.side
    assert mirror.cash == pytest.approx(account.cash)


def test_the_limit_halts_until_the_next_session() -> None:
    account, _ = apply_fill(OPENED, 1, 1.0, 100.0, 0.0, 1_000.0)
    halted = mark_account(account, 98.0, False, 1_000.0, RISK)
    assert halted.halted
    assert mark_account(halted, 100.0, False, 1_000.0, RISK).halted
    lifted = mark_account(halted, 98.0, True, 1_000.0, RISK)
    assert (lifted.halted, lifted.session_peak) == (False, 98_000.0)
    # a view at a price that breaks the limit is halted before any close says so
    assert account_view(account, 98.0, True, 1_000.0, RISK).halted[0]


def test_a_deposit_is_no_profit_and_moves_the_peak() -> None:
    held, _ = apply_fill(Account.opened(1_000.0), 1, 10.0, 50.0, 1.0, 1.0)
    after = move_cash(held, 500.0)
    assert (after.cash, after.equity, after.session_peak) == (1_499.0, 1_500.0, 1_500.0)
    flat, pnl = apply_fill(after, -1, 10.0, 52.0, 1.0, 1.0)
    assert (flat.cash, pnl) == (1_518.0, 18.0)
    assert move_cash(after, -500.0) == held


def test_a_position_that_is_taken_over_changes_no_equity() -> None:
    held, _ = apply_fill(Account.opened(1_000.0), 1, 10.0, 50.0, 0.0, 1.0)
    short = take_position(held, -4.0, 51.0, 52.0, 1.0)
    assert (short.side, short.quantity, short.entry_price) == (-1, 4.0, 51.0)
    assert short.equity_at(52.0, 1.0) == held.equity_at(52.0, 1.0) == 1_020.0
    assert short.cash == 1_024.0
    flat = take_position(short, 0.0, 51.0, 52.0, 1.0)
    assert (flat.side, flat.cash, flat.entry_cash, flat.entry_price) == (0, 1_020.0, 1_020.0, 0.0)
