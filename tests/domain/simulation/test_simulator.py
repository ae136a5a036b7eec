from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_tactical.domain.decision.aggregation import AggregationConfig
from rllib_tactical.domain.decision.orders import OrderConfig
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.risk import RiskConfig
from rllib_tactical.domain.decision.votes import ConstantVotes, Votes
from rllib_tactical.domain.features.synergy import SynergyTrack, detect_synergies
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.simulation.simulator import ACCOUNT_FEATURES, Simulator
from rllib_tactical.domain.simulation.transition import ExitReason, Step
from rllib_tactical.domain.types import FloatArray, Instrument, IntArray, Reason, Sessions
from rllib_tactical.errors import ArrayError
from tests.domain.builders import (
    COIN,
    FREE,
    FUTURE,
    SHARE,
    bars_of,
    gappy_sessions,
    hand_history,
    history_of,
    mirror_bars,
    random_bars,
    random_sessions,
    seeds,
    sessions_of_lengths,
)
from tests.domain.reference_simulator import ReferenceAccount
from tests.wrong_arrays import assert_wrong_arrays_are_refused

LONG, SHORT, HOLD = (0, 0, 1), (2, 2, 1), (1, 1, 0)
QUIET = (100.0, 101.0, 99.0, 100.0)  # inside stop 98 and target 103 of a long, and a short's
Rows = Sequence[tuple[float, ...]]
PAID = dataclasses.replace(FREE, half_spread_ticks=1.0, slippage_ticks=1.0, commission_per_lot=3.0)


def mirrored(rows: Rows) -> Rows:
    """Return rows reflected at 100."""
    return [(200 - o, 200 - low, 200 - high, 200 - c) for o, high, low, c in rows]


def votes_of(*index: tuple[int, int, int], confidence: float = 1.0) -> Votes:
    return Votes(np.array(index), np.full((len(index), 3), confidence))


def play(
    rows: Rows,
    *index: tuple[int, int, int],
    instrument: Instrument = FREE,
    rules: Rules | None = None,
    rewards: RewardConfig | None = None,
    **history: Any,
) -> tuple[Simulator, list[Step]]:
    """Vote on hand-made bars from the first on; the last vote is repeated to the end."""
    made = hand_history(rows, instrument=instrument, **history)
    simulator = Simulator(made, rules or Rules(), rewards or RewardConfig(), 1)
    steps = []
    for t in range(len(rows) - 1):
        steps.append(simulator.step(votes_of(index[min(t, len(index) - 1)])))
    return simulator, steps


def exit_of(step: Step) -> tuple[str, float]:
    return ExitReason(int(step.exit_reason[0])).name, float(step.exit_price[0])


SIDES = pytest.mark.parametrize("short", [False, True], ids=["long", "short"])


def check_exit(
    rows: Rows,
    short: bool,
    expected: tuple[str, float],
    at: int,
    instrument: Instrument = FREE,
) -> Step:
    """Enter at the first close, hold, and check how and on which step the trade ends."""
    if short:
        rows, expected = mirrored(rows), (expected[0], 200 - expected[1])
    _, steps = play(rows, SHORT if short else LONG, HOLD, instrument=instrument)
    for step in steps[: at - 1]:
        assert not step.exited[0]
    assert exit_of(steps[at - 1]) == expected
    assert all(not step.exited[0] for step in steps[at:])
    return steps[at - 1]


@SIDES
def test_decision_at_the_close_fills_at_the_next_open(short: bool) -> None:
    rows: Rows = [QUIET, (100.5, 101, 100, 100.75), QUIET]
    rows = mirrored(rows) if short else rows
    _, steps = play(rows, SHORT if short else LONG, HOLD, instrument=PAID)
    # half spread and slippage are a tick of .25 each
    fill = 100.5 + 0.5
    assert steps[0].entered[0]
    assert steps[0].entry_price[0] == (200 - fill if short else fill)
    assert steps[0].t[0] == 0
    # 10 dollars a point: (100.75 - 101) x 10 - 3 of commission
    assert steps[0].equity_change[0] == -5.5
    assert not steps[1].entered[0]
    assert math.isnan(steps[1].entry_price[0])


@SIDES
@pytest.mark.parametrize(
    ("bar", "expected"),
    [
        ((97.0, 99.0, 96.0, 98.0), ("STOP", 97.0)),  # opens beyond the stop
        ((98.0, 99.0, 97.0, 98.5), ("STOP", 98.0)),  # opens on the stop
        ((100.0, 101.0, 98.0, 100.0), ("STOP", 98.0)),  # touches the stop
        ((100.0, 104.0, 97.0, 100.0), ("STOP", 98.0)),  # both inside: the stop is taken
        ((100.0, 103.0, 99.0, 100.0), ("TARGET", 103.0)),  # touches the target
        ((104.0, 105.0, 103.5, 104.0), ("TARGET", 104.0)),  # opens beyond the target
        ((104.0, 105.0, 97.0, 100.0), ("TARGET", 104.0)),  # the open comes before the stop
    ],
)
def test_levels_inside_a_later_bar(
    short: bool, bar: tuple[float, ...], expected: tuple[str, float]
) -> None:
    step = check_exit([QUIET, QUIET, bar, QUIET], short, expected, at=2)
    assert step.trade_entry_t[0] == 0
    assert step.trade_side[0] == (-1 if short else 1)
    assert step.trade_entry_price[0] == 100.0
    assert step.quantity[0] == 1.0
    assert step.trade_pnl[0] == pytest.approx((expected[1] - 100.0) * 10.0)


@SIDES
@pytest.mark.parametrize(
    ("bar", "expected"),
    [
        ((100.0, 101.0, 97.5, 99.0), ("STOP", 98.0)),
        ((100.0, 103.5, 99.0, 103.0), ("TARGET", 103.0)),
        ((100.0, 103.5, 97.5, 103.0), ("STOP", 98.0)),
        ((97.0, 98.0, 96.0, 97.0), ("STOP", 97.0)),  # filled beyond its own stop
        ((104.0, 105.0, 103.5, 104.0), ("TARGET", 104.0)),
    ],
)
def test_levels_on_the_fill_bar(
    short: bool, bar: tuple[float, ...], expected: tuple[str, float]
) -> None:
    step = check_exit([QUIET, bar, QUIET], short, expected, at=1)
    assert step.entered[0]


@SIDES
def test_one_tick_short_of_a_level_holds(short: bool) -> None:
    rows: Rows = [QUIET, QUIET, (100.0, 102.75, 98.25, 100.0), QUIET]
    rows = mirrored(rows) if short else rows
    simulator, steps = play(rows[:-1], SHORT if short else LONG, HOLD, sessions=open_ended(3))
    assert not any(step.exited[0] for step in steps)
    assert simulator.side[0] == (-1 if short else 1)


def open_ended(length: int) -> Any:
    """Return one session whose last bar is not among the first ``length``."""
    whole = sessions_of_lengths(length + 1)
    arrays = (getattr(whole, field.name)[:length] for field in dataclasses.fields(whole))
    return Sessions(*arrays)


@SIDES
def test_stop_pays_slippage_and_target_does_not(short: bool) -> None:
    # market orders fill half a point worse; 3 dollars a lot and side
    stop = check_exit(
        [QUIET, QUIET, (100, 101, 97, 100), QUIET], short, ("STOP", 97.5), at=2, instrument=PAID
    )
    assert stop.trade_pnl[0] == (97.5 - 100.5) * 10.0 - 6.0
    assert stop.trade_cost[0] == 5.0 + 5.0 + 6.0
    gap = check_exit(
        [QUIET, QUIET, (97, 98, 96, 97), QUIET], short, ("STOP", 96.5), at=2, instrument=PAID
    )
    assert gap.trade_pnl[0] == (96.5 - 100.5) * 10.0 - 6.0
    target = check_exit(
        [QUIET, QUIET, (100, 104, 99, 100), QUIET], short, ("TARGET", 103.0), at=2, instrument=PAID
    )
    assert target.trade_pnl[0] == (103.0 - 100.5) * 10.0 - 6.0
    assert target.trade_cost[0] == 5.0 + 6.0


@SIDES
def test_session_end_closes_at_the_close(short: bool) -> None:
    rows = [QUIET, QUIET, (100, 102, 99, 101)]
    step = check_exit(rows, short, ("SESSION_END", 100.5), at=2, instrument=PAID)
    assert step.trade_pnl[0] == (100.5 - 100.5) * 10.0 - 6.0
    assert step.trade_cost[0] == 5.0 + 5.0 + 6.0


@SIDES
def test_entry_on_the_last_bar_ends_with_it(short: bool) -> None:
    step = check_exit([QUIET, (100, 102, 99, 101)], short, ("SESSION_END", 101.0), at=1)
    assert step.entered[0]


def test_a_level_inside_the_last_bar_comes_before_the_session_end() -> None:
    check_exit([QUIET, QUIET, (100, 101, 97, 100.5)], False, ("STOP", 98.0), at=2)


def test_no_order_on_the_last_bar_of_a_session() -> None:
    simulator, steps = play([QUIET] * 4, LONG, sessions=sessions_of_lengths(1, 1, 2))
    reasons = [Reason(int(step.decision.reason[0])) for step in steps]
    assert reasons == [Reason.SESSION_CLOSED, Reason.SESSION_CLOSED, Reason.EXECUTE]
    assert [bool(step.entered[0]) for step in steps] == [False, False, True]
    assert exit_of(steps[2])[0] == "SESSION_END"
    assert simulator.side[0] == 0


@SIDES
def test_opposite_vote_closes_at_the_next_open_and_does_not_reverse(short: bool) -> None:
    rows: Rows = [QUIET, QUIET, (100.5, 101, 99, 100), QUIET, QUIET]
    rows = mirrored(rows) if short else rows
    way, back = (SHORT, LONG) if short else (LONG, SHORT)
    _, steps = play(rows, way, back, back, HOLD, instrument=PAID)
    assert exit_of(steps[1]) == ("OPPOSITE", 200 - 100.0 if short else 100.0)  # 100.5 - .5
    assert not steps[1].entered[0]
    assert steps[1].decision.closes[0]
    assert steps[1].trade_pnl[0] == (100.0 - 100.5) * 10.0 - 6.0
    assert steps[1].trade_cost[0] == 5.0 + 5.0 + 6.0
    assert steps[2].entered[0]  # the reversal takes a step of its own
    assert steps[2].decision.action[0] == (1 if short else -1)


def test_opposite_close_at_the_open_comes_before_the_levels() -> None:
    _, steps = play([QUIET, QUIET, (100.5, 101, 90, 100), QUIET], LONG, SHORT, HOLD)
    assert exit_of(steps[1]) == ("OPPOSITE", 100.5)


def test_same_side_vote_adds_nothing() -> None:
    simulator, steps = play([QUIET] * 4, LONG, sessions=open_ended(4))
    assert [bool(step.entered[0]) for step in steps] == [True, False, False]
    assert steps[1].decision.reason[0] == Reason.ALREADY_POSITIONED
    assert simulator.quantity[0] == 1.0


@SIDES
def test_drawdown_limit_flattens_at_the_next_open_and_halts_the_session(short: bool) -> None:
    # stop 90 and target 115: 16 lots x $10 lose $1,600 at the stop, 80% of the session's $2,000
    rows: Rows = [
        (100, 101, 99, 100),
        (100, 101, 99, 100),
        (100, 110, 100, 110),  # equity 101,600 is the session's peak
        (110, 110, 97, 97),  # 99,520 is 2.05% below it, and the stop is not reached
        (96, 97, 85, 90),  # beyond the stop, but the halt is filled at the open
        QUIET,
        QUIET,
        QUIET,
        QUIET,
    ]
    rows = mirrored(rows) if short else rows
    _, steps = play(
        rows,
        *[SHORT if short else LONG] * 3,
        HOLD,
        *[SHORT if short else LONG] * 5,
        instrument=dataclasses.replace(FREE, base_quantity=16.0),
        atr=5.0,
        sessions=sessions_of_lengths(7, 2),
    )
    assert steps[0].decision.quantity[0] == 16.0
    assert [bool(step.exited[0]) for step in steps[:4]] == [False, False, False, True]
    assert exit_of(steps[3]) == ("HALT", 104.0 if short else 96.0)
    reasons = [Reason(int(step.decision.reason[0])) for step in steps[4:]]
    assert reasons == [Reason.SESSION_HALTED] * 3 + [Reason.EXECUTE]


def test_halted_position_pays_the_market_order_and_ignores_the_levels() -> None:
    simulator, steps = halted_account()
    assert steps[1].equity_change[0] < 0
    # open 81 less half a point; the bar's low of 60 is beyond the stop but comes later
    assert exit_of(steps[2]) == ("HALT", 80.5)
    assert steps[2].trade_pnl[0] == (80.5 - 100.5) * 10.0 * 10.0 - 60.0
    assert steps[2].trade_cost[0] == 50.0 + 50.0 + 60.0
    assert steps[3].decision.reason[0] == Reason.SESSION_HALTED
    assert simulator.halted[0]


def halted_account() -> tuple[Simulator, list[Step]]:
    """Return an account that is 2.05% down at the close of bar 2 with its stop still away."""
    history = hand_history(
        [QUIET, QUIET, (100, 100.5, 80.0, 80.0), (81, 82, 60, 65), QUIET, QUIET],
        instrument=dataclasses.replace(PAID, base_quantity=10.0),
        sessions=open_ended(6),
    )
    simulator = Simulator(history, Rules(), RewardConfig(), 1)
    steps = [simulator.step(votes_of(LONG))]
    simulator.stop[0] = 70.0  # as after an entry at a higher ATR
    steps += [simulator.step(votes_of(LONG)) for _ in range(3)]
    return simulator, steps


def test_exactly_two_percent_halts_and_less_does_not() -> None:
    for close, halts in ((80.25, True), (80.26, False)):
        free = dataclasses.replace(FREE, base_quantity=10.0, tick_size=0.01)
        history = hand_history(
            [QUIET, (100.25, 101, 99, 100.25), (100, 100.5, close, close), QUIET],
            instrument=free,
            sessions=open_ended(4),
        )
        simulator = Simulator(history, Rules(), RewardConfig(), 1)
        simulator.step(votes_of(LONG))
        simulator.stop[0] = 70.0
        simulator.step(votes_of(HOLD))
        # 10 lots x $10 x 20 points = $2,000
        assert bool(simulator.halted[0]) is halts


def test_drawdown_counts_from_the_session_peak_and_a_new_session_starts_afresh() -> None:
    big = dataclasses.replace(FREE, base_quantity=10.0)
    rows = [QUIET, QUIET, (100, 110, 100, 110), (110, 110, 90, 90), QUIET, QUIET, QUIET]
    history = hand_history(rows, instrument=big, sessions=sessions_of_lengths(5, 2))
    simulator = Simulator(history, Rules(), RewardConfig(), 1)
    simulator.step(votes_of(LONG))
    simulator.stop[0], simulator.target[0] = 50.0, 200.0
    simulator.step(votes_of(HOLD))
    assert simulator.session_peak[0] == simulator.equity[0] == 101_000.0
    simulator.step(votes_of(HOLD))
    assert simulator.equity[0] == 99_000.0  # 2,000 / 101,000 is below 2%
    assert not simulator.halted[0]
    simulator.stop[0] = 50.0
    simulator.step(votes_of(HOLD))  # the session ends at 100: 100,000
    assert simulator.session_peak[0] == 101_000.0
    simulator.step(votes_of(HOLD))
    assert simulator.session_peak[0] == simulator.equity[0] == 100_000.0


def test_a_new_session_lifts_the_halt() -> None:
    history = hand_history(
        [QUIET, QUIET, (100, 100.5, 80.0, 80.0), (81, 82, 60, 65), QUIET, QUIET],
        instrument=dataclasses.replace(PAID, base_quantity=10.0),
        sessions=sessions_of_lengths(4, 2),
    )
    simulator = Simulator(history, Rules(), RewardConfig(), 1)
    simulator.step(votes_of(LONG))
    simulator.stop[0] = 70.0
    halted = []
    for _ in range(3):
        simulator.step(votes_of(HOLD))
        halted.append(bool(simulator.halted[0]))
    assert halted == [True, True, False]
    assert simulator.session_peak[0] == simulator.equity[0]


@SIDES
def test_a_position_held_into_a_time_of_funding_pays_or_receives_it(short: bool) -> None:
    # bars of five minutes from midnight on; funding each hour, so that bar 12 opens with it
    rows = [QUIET] * 11 + [(100, 101, 99, 100.5), (100.5, 101, 99.5, 100.5), QUIET]
    rate = 0.001
    paid = dataclasses.replace(FREE, funding_rate=rate, funding_hours=1)
    index = [HOLD] * 10 + [SHORT if short else LONG, HOLD]
    _, steps = play(rows, *index, instrument=paid)
    change = [float(step.equity_change[0]) for step in steps]
    side = -1 if short else 1
    assert change[10] == side * 0.5 * 10  # entered at the open of bar 11
    assert change[11] == pytest.approx(-side * 100.5 * 10 * rate)
    assert steps[11].base[0] == pytest.approx(math.tanh(change[11] / RewardConfig().pnl_scale))
    assert steps[12].trade_pnl[0] == pytest.approx(-side * 100.5 * 10 * rate)
    assert steps[12].trade_cost[0] == pytest.approx(side * 100.5 * 10 * rate)
    # an entry at the open with which the hour begins comes after it
    _, steps = play(rows, *([HOLD] * 11), *index[-2:], instrument=paid)
    assert [float(step.equity_change[0]) for step in steps[11:]] == [0.0, side * -0.5 * 10]
    # and without a rate nothing is paid
    _, steps = play(rows, *index, instrument=dataclasses.replace(paid, funding_rate=0.0))
    assert steps[11].equity_change[0] == steps[12].trade_cost[0] == 0.0


def test_an_account_without_equity_is_liquidated_and_never_trades_again() -> None:
    crash = (30.0, 31.0, 29.0, 30.0)
    rows = [QUIET, QUIET, crash, (80, 90, 70, 80.0), QUIET, QUIET, QUIET]
    sessions = sessions_of_lengths(4, 3)
    large = dataclasses.replace(PAID, base_quantity=200.0)
    reckless = RiskConfig(max_risk_per_trade=1.0, session_drawdown_limit=1.0)
    history = hand_history(rows, instrument=large, sessions=sessions)
    simulator = Simulator(history, Rules(risk=reckless), RewardConfig(), 1)
    step = simulator.step(votes_of(LONG))
    assert step.entered[0]
    simulator.stop[0] = 10.0
    step = simulator.step(votes_of(LONG))
    # bought at 100.5, sold at 30 less half a spread and slippage of .5 in all; 3 a lot and side
    assert exit_of(step) == ("LIQUIDATION", 29.5)
    assert simulator.equity[0] == 100_000 - 71.0 * 200 * 10 - 2 * 200 * 3
    for _ in range(4):
        step = simulator.step(votes_of(LONG))
        assert not step.entered[0]
        assert step.equity_change[0] == 0.0
        assert step.decision.reason[0] == Reason.ACCOUNT_LOST


def test_an_order_that_meets_the_first_bar_of_another_session_expires() -> None:
    """The calendar has more bars of the session, but they did not come."""
    whole = sessions_of_lengths(3, 3)
    sessions = dataclasses.replace(whole, tradable=np.ones(6, dtype=np.bool_))
    _, steps = play([QUIET] * 6, HOLD, HOLD, LONG, HOLD, sessions=sessions)
    assert steps[2].decision.execute[0]
    assert not any(step.entered[0] for step in steps)


def test_nothing_fills_in_a_break() -> None:
    """Bars 2 and 3 are the break's; no order, no level and no halt is filled there."""
    closed = np.isin(np.arange(8), (2, 3))
    whole = sessions_of_lengths(8)
    crash = (100.0, 101.0, 50.0, 100.0)  # reaches the stop at 98
    sessions = dataclasses.replace(whole, is_open=~closed)
    rows = [QUIET, QUIET, crash, crash, QUIET, (100.0, 101.0, 97.0, 100.0), QUIET, QUIET]
    _, steps = play(rows, LONG, HOLD, sessions=sessions)
    assert [bool(step.exited[0]) for step in steps] == [False] * 4 + [True] + [False] * 2
    assert exit_of(steps[4]) == ("STOP", 98.0)
    # decided inside the break, where the market is not tradable
    shut = dataclasses.replace(
        sessions, tradable=whole.tradable & ~np.isin(np.arange(8), (1, 2, 3))
    )
    _, steps = play([QUIET] * 8, HOLD, LONG, LONG, LONG, LONG, sessions=shut)
    assert [bool(step.entered[0]) for step in steps] == [False] * 4 + [True] + [False] * 2
    reasons = [Reason(int(step.decision.reason[0])) for step in steps[1:4]]
    assert reasons == [Reason.SESSION_CLOSED] * 3


def test_every_exit_reason_and_reason_occurs_in_the_random_markets() -> None:
    """The comparison with the reference proves little about an event that never happens."""
    exits: set[int] = set()
    reasons: set[int] = set()
    for seed, (instrument, rules) in enumerate(
        [(LARGE, "patient"), (FREE, "poor"), (COIN, "default"), (PERPETUAL, "reckless")] * 2
    ):
        rng = np.random.default_rng(seed + 1)
        simulator = Simulator(random_history(seed, instrument), RULES[rules], RewardConfig(), 40)
        for _ in range(149):
            step = simulator.step(random_votes(rng, 40))
            exits |= set(step.exit_reason.tolist())
            reasons |= set(step.decision.reason.tolist())
    assert exits == set(ExitReason)
    # these stand above the vote and do not occur in a simulation
    above = {reason for reason in Reason if Reason.PAUSED <= reason <= Reason.DATA_GAP}
    assert reasons == set(Reason) - above


def random_history(
    seed: int,
    instrument: Instrument,
    length: int = 150,
    longest: int = 40,
    sessions: Callable[[np.random.Generator, int, int], Sessions] = random_sessions,
) -> MarketHistory:
    """Return a market of random bars and sessions on the instrument's tick grid."""
    rng = np.random.default_rng(seed)
    tick, start = {
        "FREE": (0.25, 4096.0),
        "FUTURE": (0.25, 4096.0),
        "SHARE": (0.01, 40.0),
        "COIN": (0.1, 60_000.0),
    }[instrument.symbol]
    volatility = {"COIN": 900.0, "SHARE": 8.0}.get(instrument.symbol, 6.0)
    bars = random_bars(rng, length, tick, start, jump=20 * volatility, volatility=volatility)
    return history_of(bars, sessions(rng, length, longest), instrument)


def random_votes(rng: np.random.Generator, count: int) -> Votes:
    """Return votes that agree often enough to trade, in the confidences of training and of use."""
    lean = rng.choice([0, 2], (count, 1))
    index = np.where(rng.random((count, 3)) < 0.75, lean, rng.integers(0, 3, (count, 3)))
    index[:, 2] = rng.choice([0, 1, 1, 2], count)
    index[rng.random(count) < 0.4] = HOLD  # lets trades live long enough to end in every way
    confidence = np.where(rng.random((count, 1)) < 0.5, 0.9, rng.uniform(0.5, 1.0, (count, 3)))
    return Votes(index, confidence)


LARGE = dataclasses.replace(FUTURE, base_quantity=40.0, point_value=10.0)  # risk limits bind
PERPETUAL = dataclasses.replace(
    COIN, base_quantity=50.0, commission_per_lot=-12.0, funding_rate=0.002, funding_hours=1
)
MARKETS = [FREE, FUTURE, SHARE, COIN, LARGE, PERPETUAL]
RULES = {
    "default": Rules(),
    "bold": Rules(
        aggregation=AggregationConfig(execution_threshold=0.5, entry_veto=False),
        risk=RiskConfig(max_leverage=30.0, initial_equity=20_000.0),
    ),
    "poor": Rules(risk=RiskConfig(max_leverage=7.0, initial_equity=6_000.0)),
    "patient": Rules(
        orders=OrderConfig(stop_atr=6.0, target_atr=20.0), risk=RiskConfig(max_leverage=1_000.0)
    ),
    # levels below zero and lost accounts
    "reckless": Rules(
        orders=OrderConfig(stop_atr=9.0, target_atr=300.0),
        risk=RiskConfig(
            max_risk_per_trade=1.0,
            session_drawdown_limit=1.0,
            drawdown_share_per_trade=1.0,
            max_leverage=1_000.0,
        ),
    ),
}


@settings(max_examples=25)
@given(
    seeds,
    st.sampled_from(MARKETS),
    st.sampled_from(sorted(RULES)),
    st.integers(1, 8),
    st.sampled_from([random_sessions, gappy_sessions]),
)
def test_agrees_with_the_plain_reference(
    seed: int,
    instrument: Instrument,
    rules_name: str,
    accounts: int,
    sessions: Callable[[np.random.Generator, int, int], Sessions],
) -> None:
    """Every decision, fill, cost, reward and mark of every bar, for accounts at different bars."""
    rng = np.random.default_rng(seed)
    history, rules = random_history(seed, instrument, 150, 40, sessions), RULES[rules_name]
    config = RewardConfig()
    simulator = Simulator(history, rules, config, accounts)
    starts = rng.integers(0, 20, accounts)
    simulator.reset(np.arange(accounts), starts)
    references = [ReferenceAccount(history, rules, config, t=int(t)) for t in starts]
    for _ in range(len(history) - 1 - int(starts.max())):
        votes = random_votes(rng, accounts)
        step = simulator.step(votes)
        for i, reference in enumerate(references):
            pairs = zip(votes.index[i].tolist(), votes.confidence[i].tolist(), strict=True)
            expected = reference.step(list(pairs))
            assert Reason(int(step.decision.reason[i])).code == expected.reason
            assert close(step.decision.quantity[i], expected.quantity)
            assert close(step.equity_change[i], expected.equity_change)
            assert close(step.base[i], expected.base)
            np.testing.assert_allclose(step.bonus[i], expected.bonus, atol=1e-9)
            np.testing.assert_allclose(step.rewards[i], expected.rewards, atol=1e-9)
            entry, done = expected.entered, expected.closed
            assert bool(step.entered[i]) is (entry is not None)
            if entry is not None:
                assert close(step.entry_price[i], entry.entry_price)
                assert close(step.decision.stop[i], entry.stop)
                assert close(step.decision.target[i], entry.target)
            assert bool(step.exited[i]) is (done is not None)
            if done is not None:
                assert ExitReason(int(step.exit_reason[i])).name.lower() == done.exit_reason
                assert close(step.exit_price[i], done.exit_price)
                assert (step.trade_side[i], step.trade_entry_t[i]) == (done.side, done.decided_t)
                assert close(step.quantity[i], done.quantity)
                assert close(step.trade_entry_price[i], done.entry_price)
                assert close(step.trade_pnl[i], done.pnl)
                assert close(step.trade_cost[i], done.cost)
            else:
                assert math.isnan(step.exit_price[i])
            assert simulator.t[i] == reference.t
            assert close(simulator.equity[i], reference.equity)
            assert close(simulator.session_peak[i], reference.peak)
            assert bool(simulator.halted[i]) is reference.halted
            held = reference.trade.side if reference.trade is not None else 0
            assert simulator.side[i] == held
            open_cost = 0.0
            if reference.trade is not None:
                size = reference.trade.quantity * instrument.point_value
                open_cost = reference.trade.opening_fee + reference.trade.spread_paid * size
                open_cost += reference.trade.funding
            assert close(simulator.open_cost[i], open_cost)


def close(found: float, expected: float) -> bool:
    return abs(float(found) - expected) <= 1e-6 + 1e-12 * abs(expected)


@settings(max_examples=10)
@given(seeds, st.sampled_from(MARKETS), st.sampled_from(sorted(RULES)))
def test_invariants_of_a_run(seed: int, instrument: Instrument, rules_name: str) -> None:
    rules = RULES[rules_name]
    rng = np.random.default_rng(seed + 1)
    history = random_history(seed, instrument, 150)
    simulator = Simulator(history, rules, RewardConfig(), 6)
    sessions = history.sessions
    earned = np.zeros(6)
    changed = np.zeros(6)
    for t in range(len(history) - 1):
        side_before, halted_before = simulator.side.copy(), simulator.halted.copy()
        step = simulator.step(random_votes(rng, 6))
        earned += step.trade_pnl
        changed += step.equity_change
        # no entry while positioned, in a halted session, or into another session
        assert not (step.entered & (side_before != 0)).any()
        assert not (step.entered & halted_before).any()
        if sessions.is_last[t]:
            assert not step.entered.any()
            assert not step.exited.any()
        if step.entered.any():
            assert sessions.session_id[t] == sessions.session_id[t + 1]
        for i in np.flatnonzero(step.exited):
            entry_t = int(step.trade_entry_t[i])
            assert sessions.session_id[entry_t] == sessions.session_id[t + 1]
            assert entry_t <= t
        if sessions.is_last[t + 1]:
            assert (simulator.side == 0).all()
        flat = simulator.side == 0
        initial = rules.risk.initial_equity
        np.testing.assert_allclose(simulator.equity[flat], initial + earned[flat], atol=1e-6)
        np.testing.assert_allclose(simulator.equity, initial + changed, atol=1e-6)
        assert (np.isnan(step.entry_price) == ~step.entered).all()
        assert (np.isnan(step.exit_price) == ~step.exited).all()
        assert (step.trade_cost >= 0).all() or instrument is PERPETUAL
        assert (step.trade_pnl[~step.exited] == 0).all()


@settings(max_examples=10)
@given(seeds, st.sampled_from(MARKETS))
def test_session_loss_is_bounded_by_the_limit_and_one_bar(
    seed: int, instrument: Instrument
) -> None:
    """Below the limit one bar may still lose its worst; above it only the way to the next open."""
    rng = np.random.default_rng(seed + 1)
    history = random_history(seed, instrument, 150)
    simulator = Simulator(history, Rules(), RewardConfig(), 6)
    bars = history.bars
    limit = Rules().risk.session_drawdown_limit
    for t in range(len(history) - 1):
        halted, flat = simulator.halted.copy(), simulator.side == 0
        before, peak = simulator.equity.copy(), simulator.session_peak.copy()
        quantity = simulator.quantity.copy()
        step = simulator.step(random_votes(rng, 6))
        assert (((peak - before) / peak)[~halted] < limit).all()
        lots = np.where(flat, step.decision.quantity, quantity)
        size = lots * instrument.point_value
        worse = (instrument.half_spread_ticks + instrument.slippage_ticks) * instrument.tick_size
        worse += instrument.slippage_atr_share * history.features.atr[t]
        costs = 2 * worse * size + 2 * max(instrument.commission_per_lot, 0.0) * lots
        costs += abs(instrument.funding_rate) * bars.open[t + 1] * size
        past = bars.close[t]
        reach = max(past, bars.high[t + 1]) - min(past, bars.low[t + 1])
        lost = -step.equity_change
        assert (lost <= reach * size + costs + 1e-6).all()
        assert (lost[halted] <= (abs(bars.open[t + 1] - past) * size + costs)[halted] + 1e-6).all()
        assert (lost[halted & flat] == 0.0).all()
        assert not step.entered[halted].any()


@settings(max_examples=10)
@given(seeds)
def test_accounts_do_not_touch_each_other(seed: int) -> None:
    history = random_history(seed, FUTURE, 110)
    rng = np.random.default_rng(seed)
    votes = [random_votes(rng, 5) for _ in range(len(history) - 1)]
    many = Simulator(history, Rules(), RewardConfig(), 5)
    alone = Simulator(history, Rules(), RewardConfig(), 1)
    for vote in votes:
        a = many.step(vote)
        b = alone.step(Votes(vote.index[3:4], vote.confidence[3:4]))
        for item in dataclasses.fields(Step):
            if item.name != "decision":
                np.testing.assert_array_equal(getattr(a, item.name)[3:4], getattr(b, item.name))
        np.testing.assert_array_equal(many.account_features()[3:4], alone.account_features())


@settings(max_examples=10)
@given(seeds, st.sampled_from([FREE, FUTURE, LARGE]))
def test_reflected_prices_and_votes_mirror_the_fills(seed: int, instrument: Instrument) -> None:
    """2M - p with M = 4096: quarters stay exact; limits that depend on the price level are off."""
    rng = np.random.default_rng(seed)
    rules = Rules(risk=RiskConfig(max_leverage=1e6))
    rewards = RewardConfig(execution_slippage=1e6)  # the only reward relative to the price level
    bars = random_bars(rng, 150, volatility=5.0, jump=30.0)
    sessions = random_sessions(rng, 150)
    synergy = random_synergy(rng, 150)
    turned = SynergyTrack(synergy.kind, -synergy.direction, synergy.confidence)
    simulators = [
        Simulator(history_of(b, sessions, instrument, s), rules, rewards, 4)
        for b, s in ((bars, synergy), (mirror_bars(bars, 8192.0), turned))
    ]
    traded = 0
    for _ in range(149):
        votes = random_votes(rng, 4)
        index = votes.index.copy()
        index[:, :2] = 2 - index[:, :2]
        a = simulators[0].step(votes)
        b = simulators[1].step(Votes(index, votes.confidence))
        np.testing.assert_array_equal(a.decision.reason, b.decision.reason)
        np.testing.assert_array_equal(a.decision.action, -b.decision.action)
        np.testing.assert_array_equal(a.decision.quantity, b.decision.quantity)
        np.testing.assert_array_equal(a.exit_reason, b.exit_reason)
        np.testing.assert_array_equal(a.trade_side, -b.trade_side)
        for name in ("entry_price", "exit_price"):
            np.testing.assert_allclose(getattr(a, name), 8192.0 - getattr(b, name), atol=1e-9)
        for name in ("trade_pnl", "trade_cost", "equity_change", "rewards", "bonus"):
            np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=1e-6)
        traded += int(a.entered.sum())
    assert traded > 0


def random_synergy(rng: np.random.Generator, length: int) -> SynergyTrack:
    kind = np.where(rng.random(length) < 0.4, rng.integers(1, 5, length), 0).astype(np.int8)
    direction = np.where(kind > 0, rng.choice([1, -1], length), 0).astype(np.int8)
    return SynergyTrack(kind, direction, np.where(kind > 0, rng.random(length), 0.0))


@settings(max_examples=10)
@given(seeds)
def test_doubling_the_costs_costs_exactly_that_much(seed: int) -> None:
    """With sizes far below the limits the same trades happen; market orders just cost twice."""
    small = dataclasses.replace(FUTURE, point_value=0.5, slippage_ticks=0.5)
    twice = dataclasses.replace(
        small, commission_per_lot=4.5, half_spread_ticks=1.0, slippage_ticks=1.0
    )
    rng = np.random.default_rng(seed)
    bars, sessions = random_bars(rng, 120), random_sessions(rng, 120)
    simulators = [
        Simulator(history_of(bars, sessions, i), Rules(), RewardConfig(), 3) for i in (small, twice)
    ]
    for _ in range(119):
        votes = random_votes(rng, 3)
        a, b = (simulator.step(votes) for simulator in simulators)
        np.testing.assert_array_equal(a.exit_reason, b.exit_reason)
        np.testing.assert_allclose(b.trade_cost, 2 * a.trade_cost, atol=1e-9)
        np.testing.assert_allclose(b.trade_pnl, a.trade_pnl - a.trade_cost, atol=1e-9)
    assert (simulators[1].equity < simulators[0].equity).all()


@settings(max_examples=10)
@given(seeds)
def test_price_unit_does_not_matter(seed: int) -> None:
    """Prices and ticks x 4 with a quarter of the point value give the same dollars."""
    rng = np.random.default_rng(seed)
    bars, sessions = random_bars(rng, 120), random_sessions(rng, 120)
    scaled = dataclasses.replace(
        bars, **{name: 4.0 * getattr(bars, name) for name in ("open", "high", "low", "close")}
    )
    unit = dataclasses.replace(FUTURE, gap_proximity_points=None)
    other = dataclasses.replace(unit, tick_size=1.0, point_value=12.5)
    simulators = [
        Simulator(history_of(b, sessions, i), Rules(), RewardConfig(), 3)
        for b, i in ((bars, unit), (scaled, other))
    ]
    for _ in range(119):
        votes = random_votes(rng, 3)
        a, b = (simulator.step(votes) for simulator in simulators)
        np.testing.assert_array_equal(a.decision.reason, b.decision.reason)
        np.testing.assert_array_equal(a.exit_reason, b.exit_reason)
        for name in ("trade_pnl", "trade_cost", "equity_change", "rewards"):
            np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=1e-7)


def test_synergies_of_the_history_reach_the_decision() -> None:
    length = 6
    kind = np.array([0, 2, 2, 0, 0, 0], dtype=np.int8)
    against = SynergyTrack(kind, np.where(kind > 0, -1, 0).astype(np.int8), np.zeros(length))
    history = hand_history([QUIET] * length, synergy=against)
    simulator = Simulator(history, Rules(), RewardConfig(), 1)
    reasons = []
    for _ in range(3):
        step = simulator.step(votes_of(LONG, confidence=0.9))
        reasons.append(Reason(int(step.decision.reason[0])))
        simulator.side[0] = 0
    assert reasons == [Reason.EXECUTE, Reason.COUNTER_SYNERGY, Reason.COUNTER_SYNERGY]


def entry_bonus(
    raw: dict[tuple[int, int], float] | None = None,
    vote: tuple[int, int, int] = LONG,
    instrument: Instrument = FREE,
    fill_open: float = 100.0,
    **changes: Any,
) -> list[float]:
    """Return the bonuses of an entry decided on bar 2 of a quiet market."""
    rows = [QUIET, QUIET, QUIET, (fill_open, max(fill_open, 101), 99, 100), QUIET]
    history = hand_history(rows, raw=raw, instrument=instrument, **changes)
    simulator = Simulator(history, Rules(), RewardConfig(execution_bonus=0.0), 1)
    simulator.step(votes_of(HOLD))
    simulator.step(votes_of(HOLD))
    step = simulator.step(votes_of(vote))
    assert step.entered[0]
    return [round(float(value), 9) for value in step.bonus[0]]


def test_gap_bonus_within_one_atr_or_the_points_of_the_instrument() -> None:
    assert entry_bonus({(2, 2): 101.0}) == [0.1, 0.0, 0.0]
    assert entry_bonus({(2, 2): 99.0}) == [0.1, 0.0, 0.0]
    assert entry_bonus({(2, 2): 101.25}) == [0.0, 0.0, 0.0]
    assert entry_bonus({(2, 2): 101.25}, atr=1.25) == [0.1, 0.0, 0.0]
    five = dataclasses.replace(FREE, gap_proximity_points=5.0)
    assert entry_bonus({(2, 2): 105.0}, instrument=five) == [0.1, 0.0, 0.0]
    assert entry_bonus({(2, 2): 105.25}, instrument=five) == [0.0, 0.0, 0.0]
    far = dataclasses.replace(FREE, gap_proximity_points=500.0)
    assert entry_bonus(instrument=far) == [0.0, 0.0, 0.0]  # no level is no gap at price 0
    assert entry_bonus({(3, 2): 100.0}) == [0.0, 0.0, 0.0]  # known only after the decision


def test_trend_bonus_is_the_move_of_five_bars_in_atrs() -> None:
    # +2% of 98.04 are 1.96 points up to 100; ATR 1
    expected = round(0.1 * math.tanh(100.0 - 100.0 / 1.02), 9)
    assert entry_bonus({(2, 5): 2.0}) == [0.0, expected, 0.0]
    assert entry_bonus({(2, 5): 2.0}, vote=SHORT) == [0.0, -expected, 0.0]


def test_synergy_bonus_needs_the_same_direction() -> None:
    def track(direction: int) -> SynergyTrack:
        on = np.array([0, 0, 2, 0, 0], dtype=np.int8)
        return SynergyTrack(on, np.where(on > 0, direction, 0).astype(np.int8), np.zeros(5))

    assert entry_bonus(synergy=track(1)) == [0.2, 0.2, 0.2]
    assert entry_bonus(synergy=track(-1), vote=SHORT) == [0.2, 0.2, 0.2]
    assert entry_bonus(synergy=track(-1)) == [0.0, 0.0, 0.0]  # full confidence passes at .7


def test_risk_penalty_looks_at_the_requested_size() -> None:
    # one lot loses 2 points x $10: 100 lots are $2,000 = 2.0%, 101 are more; both are cut to 80
    for base, expected in ((100.0, 0.0), (101.0, -0.5)):
        wants = dataclasses.replace(FREE, base_quantity=base)
        assert entry_bonus(instrument=wants) == [expected] * 3


def test_execution_bonus_needs_a_fill_near_the_decision_price() -> None:
    for fill_open, expected in ((100.0, 0.1), (100.04, 0.1), (100.06, 0.0), (99.0, 0.1)):
        rows = [QUIET, (fill_open, 101, 99, 100), QUIET]
        _, steps = play(rows, LONG, HOLD)
        assert steps[0].bonus[0, 2] == pytest.approx(expected)
    _, steps = play([QUIET, (99.94, 101, 99, 100), QUIET], SHORT, HOLD)
    assert steps[0].bonus[0, 2] == 0.0


@pytest.mark.parametrize(("signal_t", "paid"), [(0, False), (1, True), (2, True), (3, False)])
def test_mitigation_bonus_for_entries_on_or_right_after_a_mitigation(
    signal_t: int, paid: bool
) -> None:
    rows = [QUIET, QUIET, QUIET, QUIET, (100, 104, 99, 100), QUIET]
    _, steps = play(rows, HOLD, HOLD, LONG, HOLD, raw={(signal_t, 4): 1.0}, sessions=open_ended(6))
    assert exit_of(steps[3])[0] == "TARGET"
    assert steps[3].bonus[0].tolist() == [0.15 if paid else 0.0, 0.0, 0.0]


def test_a_mitigation_is_not_carried_from_one_trade_to_the_next() -> None:
    win = (100, 104, 99, 100)
    rows = [QUIET, win, QUIET, QUIET, win, QUIET]
    _, steps = play(rows, LONG, HOLD, HOLD, LONG, HOLD, raw={(0, 4): 1.0})
    assert [step.bonus[0, 0] - step.bonus[0, 2] for step in steps] == pytest.approx(
        [0.15, 0, 0, 0, 0]
    )


def test_no_mitigation_before_the_first_bar() -> None:
    """The bar before bar 0 is not the market history's last one."""
    _, steps = play([QUIET, (100, 104, 99, 100), QUIET], LONG, HOLD, raw={(2, 4): 1.0})
    assert exit_of(steps[0])[0] == "TARGET"
    assert steps[0].bonus[0, 0] == steps[0].bonus[0, 2]


@pytest.mark.parametrize(
    ("momentum", "vote", "penalty"),
    [(-1.0, LONG, -0.1), (1.0, LONG, 0.0), (0.0, LONG, 0.0), (1.0, SHORT, -0.1)],
)
def test_counter_trend_penalty_on_a_losing_close(
    momentum: float, vote: tuple[int, int, int], penalty: float
) -> None:
    rows: Rows = [QUIET, QUIET, (100, 101, 97, 100), QUIET]
    rows = mirrored(rows) if vote == SHORT else rows
    _, steps = play(rows, vote, HOLD, raw={(0, 5): momentum})
    assert exit_of(steps[1])[0] == "STOP"
    assert steps[1].bonus[0].tolist() == [0.0, penalty, 0.0]


def test_pnl_scale_of_the_instrument_wins() -> None:
    rows = [QUIET, (100, 101, 99, 101), QUIET]
    for scale, expected in ((None, 10.0 / RewardConfig().pnl_scale), (20.0, 0.5)):
        instrument = dataclasses.replace(FREE, pnl_scale=scale)
        _, steps = play(rows, LONG, HOLD, instrument=instrument)
        assert steps[0].equity_change[0] == 10.0
        assert steps[0].base[0] == pytest.approx(math.tanh(expected))


def test_reset_starts_some_accounts_afresh_and_leaves_the_others() -> None:
    history = random_history(3, FUTURE, 120)
    rng = np.random.default_rng(0)
    simulator = Simulator(history, Rules(), RewardConfig(), 4)
    for _ in range(60):
        simulator.step(random_votes(rng, 4))
    simulator.side[:], simulator.quantity[:], simulator.halted[:] = 1, 2.0, True
    equity = simulator.equity.copy()
    simulator.reset(np.array([1, 3]), np.array([5, 9]))
    assert simulator.t.tolist() == [60, 5, 60, 9]
    assert simulator.side.tolist() == [1, 0, 1, 0]
    assert simulator.quantity.tolist() == [2.0, 0.0, 2.0, 0.0]
    assert simulator.halted.tolist() == [True, False, True, False]
    assert simulator.equity[[1, 3]].tolist() == [100_000.0] * 2
    assert simulator.session_peak[[1, 3]].tolist() == [100_000.0] * 2
    assert simulator.cash[[1, 3]].tolist() == [100_000.0] * 2
    np.testing.assert_array_equal(simulator.equity[[0, 2]], equity[[0, 2]])


def test_reset_takes_the_equity_to_start_with() -> None:
    simulator = Simulator(random_history(3, FUTURE, 120), Rules(), RewardConfig(), 3)
    simulator.reset(np.array([0, 2]), np.array([5, 9]), np.array([70_000.0, 80_000.0]))
    for values in (simulator.equity, simulator.cash, simulator.session_peak):
        assert values.tolist() == [70_000.0, 100_000.0, 80_000.0]


def test_a_finished_step_is_not_changed_by_the_next_one() -> None:
    history = random_history(4, SHARE, 120)
    rng = np.random.default_rng(1)
    simulator = Simulator(history, Rules(), RewardConfig(), 4)
    for _ in range(40):
        step = simulator.step(random_votes(rng, 4))
        names = [item.name for item in dataclasses.fields(Step) if item.name != "decision"]
        copies = [getattr(step, name).copy() for name in names]
        simulator.step(random_votes(rng, 4))
        simulator.reset(np.array([0]), simulator.t[:1])
        for name, copy in zip(names, copies, strict=True):
            np.testing.assert_array_equal(getattr(step, name), copy)


def test_account_features_by_hand() -> None:
    simulator, _ = play(
        [QUIET, QUIET, (100, 101, 99, 99), QUIET], LONG, HOLD, atr=2.0, sessions=open_ended(4)
    )
    assert ACCOUNT_FEATURES == (
        "position_side",
        "unrealised_pnl_atr",
        "bars_in_trade",
        "session_drawdown_used",
    )
    out = simulator.account_features()
    assert out.dtype == np.float32
    assert out.tolist() == [[1.0, 0.0, np.float32(3 / 60), 0.0]]  # held on bars 1, 2 and 3
    history = hand_history([QUIET, QUIET, (100, 101, 99, 99)], atr=2.0, sessions=open_ended(3))
    down = Simulator(history, Rules(), RewardConfig(), 1)
    down.step(votes_of(LONG))
    down.step(votes_of(HOLD))
    # -1 point is -0.5 ATR and -$10 of the $2,000 that the session may lose
    np.testing.assert_allclose(down.account_features(), [[1.0, -0.5, 2 / 60, 0.005]], rtol=1e-6)
    flat = Simulator(history, Rules(), RewardConfig(), 1)
    flat.step(votes_of(HOLD))
    assert flat.account_features().tolist() == [[0.0, 0.0, 0.0, 0.0]]


def test_account_features_are_bounded() -> None:
    history = hand_history([QUIET] * 4, atr=0.001, sessions=open_ended(4))
    simulator = Simulator(history, Rules(), RewardConfig(), 2)
    simulator.side[:], simulator.quantity[:] = (1, -1), 1.0
    simulator.entry_price[:] = 50.0
    simulator.entry_t[:] = -1_000
    simulator.equity[:] = 10_000.0
    assert simulator.account_features().tolist() == [[1, 10, 2, 2], [-1, -10, 2, 2]]
    still = hand_history([QUIET] * 4, atr=0.0)
    simulator = Simulator(still, Rules(), RewardConfig(), 1)
    simulator.side[:], simulator.quantity[:], simulator.entry_price[:] = 1, 1.0, 50.0
    assert simulator.account_features()[0, 1] == 0.0  # no ATR, no unit


def test_flat_prices_trade_nothing() -> None:
    bars = bars_of([(100, 100, 100, 100)] * 80)
    history = history_of(bars, instrument=dataclasses.replace(FREE, base_quantity=5.0))
    simulator = Simulator(history, Rules(), RewardConfig(), 1)
    for _ in range(79):
        step = simulator.step(votes_of(LONG))
        assert step.decision.reason[0] == Reason.RISK_LIMIT
    assert simulator.equity[0] == 100_000.0


def test_detected_synergies_are_the_default_of_the_test_histories() -> None:
    history = random_history(0, FUTURE, 150)
    np.testing.assert_array_equal(history.synergy.kind, detect_synergies(history.features).kind)


def test_wrong_arrays_are_refused() -> None:
    rng = np.random.default_rng(0)
    history = history_of(random_bars(rng, 60), random_sessions(rng, 60))
    simulator = Simulator(history, Rules(), RewardConfig(), 4)
    assert_wrong_arrays_are_refused(
        simulator.reset,
        accounts=np.array([1, 2]),
        t=np.array([30, 40]),
        equity=np.array([1e5, 2e5]),
        cost_factor=np.array([1.0, 2.0]),
    )
    assert_wrong_arrays_are_refused(lambda **state: simulator.set_state(state), **simulator.state())

    def stepped(index: IntArray, confidence: FloatArray) -> None:
        simulator.reset(np.arange(4), np.full(4, 30))
        simulator.step(Votes(index, confidence))

    votes = votes_of(LONG, SHORT, HOLD, LONG)
    assert_wrong_arrays_are_refused(stepped, index=votes.index, confidence=votes.confidence)


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("shape", [(3, 3), (5, 3), (1, 3), (4, 2), (3,), (4, 3, 1)])
def test_votes_of_other_accounts_are_refused_before_anything_moves(
    constant: bool, shape: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(0)
    history = history_of(random_bars(rng, 60), random_sessions(rng, 60))
    simulator = Simulator(history, Rules(), RewardConfig(), 4)
    simulator.reset(np.arange(4), np.full(4, 30))
    before = simulator.state()
    index, confidence = np.zeros(shape, dtype=np.int64), np.full(shape, 0.9)
    votes = ConstantVotes(index, confidence, 0.9) if constant else Votes(index, confidence)
    with pytest.raises(ArrayError, match=r"index must be .* of shape \(4, 3\), found"):
        simulator.step(votes)
    for name, array in simulator.state().items():
        np.testing.assert_array_equal(array, before[name])
