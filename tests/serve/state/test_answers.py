"""What a write is answered with, computed by hand from the state that it leads to."""

from __future__ import annotations

from rllib_tactical.bundle.bundle import Bundle
from serve.api.write_requests import (
    AccountRequest,
    BarInput,
    BarsRequest,
    BrokerAccount,
    CashMove,
    FillInput,
    FillsRequest,
)
from serve.state.answers import account_answer, bars_answer, fills_answer
from serve.state.machine import StateMachine
from serve.state.records import model_record

START = 1_700_000_100
NOW = START + 10_000.0


def bar(number: int) -> BarInput:
    return BarInput(START + 300 * number, 100.0, 101.0, 99.0, 100.0, 5.0)


def test_answers_count_what_was_new_and_say_where_the_state_is(bundle: Bundle) -> None:
    machine = StateMachine(model_record(bundle, "first", live_bars=False))
    record, plan = machine.check_bars(BarsRequest("TEST", [bar(0), bar(1), bar(3)]), NOW)
    machine.apply(record)
    answer = bars_answer(machine, plan)
    assert (answer.accepted, answer.repeated, answer.bars, answer.ready) == (3, 0, 3, False)
    assert [(gap.missing_bars, gap.before) for gap in answer.gaps] == [(1, START + 900)]
    assert (answer.degraded, answer.last_timestamp, answer.version) == (True, START + 900, 2)

    fills = FillsRequest("TEST", [FillInput("a", "SELL", 2.0, 100.0, START + 900, 0.0)])
    filled_record, plan_of_fills = machine.check_fills(fills, NOW)
    machine.apply(filled_record)
    filled = fills_answer(machine, plan_of_fills)
    assert (filled.accepted, filled.repeated, filled.position) == (1, 0, -2.0)
    again = fills_answer(machine, machine.check_fills(fills, NOW)[1])
    assert (again.accepted, again.repeated, again.version) == (0, 1, 3)


def test_the_differences_are_those_before_the_broker_s_account_was_adopted(bundle: Bundle) -> None:
    machine = StateMachine(model_record(bundle, "first", live_bars=False))
    record, _ = machine.check_bars(BarsRequest("TEST", [bar(0)]), NOW)
    machine.apply(record)
    told = BrokerAccount(3.0, 100_250.0, 100.0)
    cash = [CashMove("transfer", 200.0)]
    request = AccountRequest("TEST", "1", "ops", "daily", cash, told, adopt=True)
    before = machine.snapshot().account
    machine.apply(machine.check_account(request, NOW))
    answer = account_answer(machine, request, before, written=True)
    assert (answer.position_difference, answer.equity_difference) == (3.0, 50.0)
    assert (answer.position, answer.equity, answer.reconciled) == (3.0, 100_250.0, True)
    repeated = account_answer(machine, request, machine.snapshot().account, written=False)
    assert (repeated.repeated, repeated.position_difference) == (True, 0.0)
