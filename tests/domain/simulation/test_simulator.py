"""Fills on hand-made bars: entries, levels inside a bar, sessions, breaks and funding."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.risk import RiskConfig
from rllib_tactical.domain.features.synergy import SynergyTrack, detect_synergies
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.simulation.simulator import Simulator
from rllib_tactical.domain.simulation.transition import ExitReason, Step
from rllib_tactical.domain.types import Instrument, Reason
from tests.domain.builders import (
    COIN,
    FREE,
    FUTURE,
    bars_of,
    gappy_sessions,
    hand_history,
    history_of,
    sessions_of_lengths,
)
from tests.domain.simulation.plays import (
    HOLD,
    LONG,
    PAID,
    QUIET,
    SHORT,
    SIDES,
    Rows,
    exit_of,
    mirrored,
    open_ended,
    play,
    votes_of,
)
from tests.domain.simulation.random_markets import (
    LARGE,
    PERPETUAL,
    RULES,
    random_history,
    random_votes,
)


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


@pytest.mark.parametrize(("hold_bars", "held"), [(0, 0), (1, 1), (2, 2), (5, 4)])
def test_nothing_is_ordered_shortly_after_missing_bars(hold_bars: int, held: int) -> None:
    sessions = open_ended(6)
    sessions = dataclasses.replace(sessions, since_gap=np.array([60, 0, 1, 2, 3, 4]))
    rules = Rules(risk=RiskConfig(hold_bars_after_gap=hold_bars))
    _, steps = play([QUIET] * 6, HOLD, LONG, LONG, LONG, LONG, sessions=sessions, rules=rules)
    reasons = [Reason(int(step.decision.reason[0])) for step in steps[1:]]
    assert reasons[:held] == [Reason.DATA_GAP] * held
    assert [reason is Reason.EXECUTE for reason in reasons[held : held + 1]] == [True][: 4 - held]


@SIDES
def test_a_bracket_stays_in_force_after_missing_bars(short: bool) -> None:
    """An opposite vote closes nothing on the first bar after them, the stop does."""
    sessions = dataclasses.replace(open_ended(5), since_gap=np.array([60, 60, 0, 1, 2]))
    rows: Rows = [QUIET, QUIET, QUIET, (100, 101, 97, 100), QUIET]
    rows = mirrored(rows) if short else rows
    way, back = (SHORT, LONG) if short else (LONG, SHORT)
    _, steps = play(rows, way, HOLD, back, back, sessions=sessions)
    assert Reason(int(steps[2].decision.reason[0])) is Reason.DATA_GAP
    assert exit_of(steps[2])[0] == "STOP"


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
        history = random_history(seed, instrument, sessions=gappy_sessions)
        simulator = Simulator(history, RULES[rules], RewardConfig(), 40)
        for _ in range(149):
            step = simulator.step(random_votes(rng, 40))
            exits |= set(step.exit_reason.tolist())
            reasons |= set(step.decision.reason.tolist())
    assert exits == set(ExitReason)
    # these stand above the vote and do not occur in a simulation
    above = {reason for reason in Reason if Reason.PAUSED <= reason <= Reason.DATA_STALE}
    above |= {Reason.MODEL_LOADING, Reason.DATA_SUSPECT, Reason.POSITION_MISMATCH}
    above |= {Reason.CLOCK_JUMPED, Reason.EVENT_LATE, Reason.EVENT_EARLY}
    above |= {Reason.POSITIONS_LIMIT}  # takes several instruments
    assert reasons == set(Reason) - above


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
