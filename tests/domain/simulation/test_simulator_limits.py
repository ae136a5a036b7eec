"""When the session drawdown halts an account, and when an account is lost."""

from __future__ import annotations

import dataclasses

from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.risk import RiskConfig
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.simulation.simulator import Simulator
from rllib_tactical.domain.simulation.transition import Step
from rllib_tactical.domain.types import Reason
from tests.domain.builders import (
    FREE,
    hand_history,
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
