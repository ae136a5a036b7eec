"""What marks the account: bars, and fills where no bars come; an operator's orders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.simulation.account import Account
from serve.api.errors import RequestError
from serve.api.write_requests import (
    BarInput,
    BarsRequest,
    FillInput,
    FillsRequest,
    read_body,
)
from serve.state.machine import StateMachine
from serve.state.records import ModelRecord, Record, SessionRecord, model_record
from tests.serve.local import Cluster
from tests.serve.writes import (
    BARS,
    accepted,
    bars_body,
    fills_body,
    refused,
    with_service,
)
from tests.serve.writes import fill as posted

DAY = 86_400
TODAY = 20_000 * DAY
"""A midnight of a market that is open around the clock."""


def machine_of(bundle: Bundle, live_bars: bool = True, **instrument: Any) -> StateMachine:
    record = model_record(bundle, live_bars=live_bars)
    return StateMachine(msgspec.structs.replace(record, instrument=record.instrument | instrument))


def commit(machine: StateMachine, record: Record | None) -> None:
    assert record is not None
    machine.apply(record)


def fill(
    machine: StateMachine, fill_id: str, side: str, quantity: float, price: float, at_s: int
) -> Account:
    given = FillInput(fill_id, side, quantity, price, at_s, commission=0.0)  # type: ignore[arg-type]
    commit(machine, machine.check_fills(FillsRequest("TEST", [given]), at_s + 9 * DAY)[0])
    return machine.snapshot().account


def bar(machine: StateMachine, opens_s: int, close: float) -> Account:
    given = BarInput(opens_s, close, close, close, close, 1.0)
    commit(machine, machine.check_bars(BarsRequest("TEST", [given]), opens_s + 9 * DAY)[0])
    return machine.snapshot().account


def test_a_rebate_is_cash(bundle: Bundle) -> None:
    machine = machine_of(bundle)
    body = {"fill_id": "1", "side": "BUY", "quantity": 10, "price": 100, "timestamp": TODAY}
    request = {"symbol": "TEST", "fills": [body | {"commission": -0.25}]}
    given = read_body(json.dumps(request).encode(), FillsRequest)
    commit(machine, machine.check_fills(given, TODAY)[0])
    assert machine.snapshot().account.cash == 100_000.25


def test_a_late_fill_neither_lifts_a_halt_nor_marks_at_its_old_price(bundle: Bundle) -> None:
    machine = machine_of(bundle)
    fill(machine, "1", "BUY", 1_000.0, 100.0, TODAY + 3600)
    assert fill(machine, "2", "SELL", 1_000.0, 97.0, TODAY + 3700).halted
    assert fill(machine, "3", "BUY", 1.0, 80.0, TODAY - 3600).halted

    machine = machine_of(bundle)
    fill(machine, "1", "BUY", 1_000.0, 100.0, TODAY + 3600)
    account = fill(machine, "2", "SELL", 1.0, 80.0, TODAY - 3600)
    assert account.equity == account.cash + 999.0 * (100.0 - account.entry_price)
    assert not account.halted


def test_every_session_begins_with_its_own_drawdown(bundle: Bundle) -> None:
    machine = machine_of(bundle)
    fill(machine, "1", "BUY", 1_000.0, 100.0, TODAY)
    lost = fill(machine, "2", "SELL", 1_000.0, 98.6, TODAY + 60)
    assert (lost.session_peak, lost.equity, lost.halted) == (100_000.0, 98_600.0, False)
    assert bar(machine, TODAY + DAY - 300, 98.6).session_peak == 100_000.0
    assert bar(machine, TODAY + DAY, 98.6).session_peak == pytest.approx(98_600.0)


def test_fills_mark_where_bars_came_long_ago_and_lift_no_halt(bundle: Bundle) -> None:
    machine = machine_of(bundle)
    bar(machine, TODAY - 9 * DAY, 100.0)
    fill(machine, "1", "BUY", 1_000.0, 100.0, TODAY + 3600)
    assert fill(machine, "2", "SELL", 1_000.0, 97.0, TODAY + 3700).halted
    assert fill(machine, "3", "BUY", 1.0, 97.0, TODAY + DAY + 600).halted
    assert not bar(machine, TODAY + DAY + 600, 97.0).halted


@pytest.mark.parametrize("first", [TODAY - DAY - 3600, TODAY + 1200])
def test_bars_of_the_session_of_a_halt_do_not_lift_it(bundle: Bundle, first: int) -> None:
    """The first bars come after it; those of earlier days are sent to fill the window."""
    machine = machine_of(bundle)
    fill(machine, "1", "BUY", 1_000.0, 100.0, TODAY + 3600)
    assert fill(machine, "2", "SELL", 1_000.0, 97.0, TODAY + 3700).halted
    for opens_s in (first, TODAY - 300, TODAY, TODAY + 3600, TODAY + DAY - 300):
        if opens_s >= first:
            assert bar(machine, opens_s, 97.0).halted
            machine = StateMachine.load(machine.dump())
    assert not bar(machine, TODAY + DAY, 97.0).halted


def test_bars_of_the_past_do_not_mark_what_newer_fills_have_marked(bundle: Bundle) -> None:
    machine = machine_of(bundle)
    before = fill(machine, "1", "BUY", 1_000.0, 100.0, TODAY + 3600)
    assert bar(machine, TODAY - 600, 50.0) == before
    assert bar(machine, TODAY + 3300 - 300, 50.0) == before
    marked = bar(machine, TODAY + 3300, 99.0)  # it ends when the fill was, a second before: older
    assert marked == before
    assert bar(machine, TODAY + 3600, 99.0).equity == before.equity - 1_000.0


def test_while_bars_come_they_alone_mark(bundle: Bundle) -> None:
    """A fill at its own price would tell otherwise."""
    machine = machine_of(bundle)
    last = TODAY + DAY - 300
    before = bar(machine, last, 100.0)
    filled = fill(machine, "1", "BUY", 1_000.0, 105.0, last + 600)
    assert (filled.equity, filled.halted) == (before.equity, False)
    began = bar(machine, TODAY + DAY, 104.0)
    assert (began.equity, began.session_peak) == (99_000.0, 100_000.0)


@pytest.mark.parametrize("filled", [False, True])
def test_what_is_lost_before_a_sessions_first_bar_is_lost_in_it(
    bundle: Bundle, filled: bool
) -> None:
    """The feed was down over midnight: 1.5% were lost before it, 0.7% after."""
    machine = machine_of(bundle)
    bar(machine, TODAY + 22 * 3600, 100.0)
    fill(machine, "1", "BUY", 1_000.0, 100.0, TODAY + 22 * 3600 + 400)
    bar(machine, TODAY + 23 * 3600, 99.0)
    bar(machine, TODAY + DAY - 300, 98.5)
    if filled:
        account = fill(machine, "2", "BUY", 1e-9, 98.0, TODAY + DAY + 1800)
        assert (round(account.equity, 3), account.session_peak) == (98_000.0, 98_500.0)
    bar(machine, TODAY + DAY, 98.0)
    account = bar(machine, TODAY + DAY + 1800, 97.8)
    assert (round(account.equity, 3), account.session_peak) == (97_800.0, 98_500.0)


def test_a_session_that_an_older_version_began_by_the_clock_has_begun(bundle: Bundle) -> None:
    machine = machine_of(bundle)
    bar(machine, TODAY, 100.0)
    commit(machine, SessionRecord(TODAY + 30 * DAY))
    fill(machine, "1", "BUY", 1_000.0, 100.0, TODAY + 400)
    assert bar(machine, TODAY + 300, 97.0).halted
    commit(machine, SessionRecord(TODAY + DAY))
    assert not machine.snapshot().account.halted
    assert bar(machine, TODAY + 600, 90.0).halted
    assert not bar(machine, TODAY + DAY, 90.0).halted


def test_a_date_without_trading_is_no_session(bundle: Bundle) -> None:
    friday = 1_710_187_200 - 3 * DAY  # 2024-03-08, 20:00 UTC
    machine = machine_of(bundle, calendar="XNYS", timezone="America/New_York")
    fill(machine, "1", "BUY", 1_000.0, 100.0, friday)
    assert fill(machine, "2", "SELL", 1_000.0, 97.0, friday + 60).halted
    opens = friday + 3 * DAY - 6 * 3600 - 1800  # Monday, 9:30 in New York after clocks changed
    for moment in (friday + 6 * 3600, friday + DAY, opens - 300):
        assert bar(machine, moment, 97.0).halted
    assert not bar(machine, opens, 97.0).halted


def test_a_journal_that_does_not_tell_is_read_as_it_was_written(bundle: Bundle) -> None:
    """Before bars were said to be live or not, fills never marked once there was a bar."""
    raw = msgspec.to_builtins(model_record(bundle))
    del raw["live_bars"]
    machine = StateMachine(msgspec.convert(raw, ModelRecord))
    bar(machine, TODAY - 9 * DAY, 100.0)
    fill(machine, "1", "BUY", 1_000.0, 100.0, TODAY)
    assert not fill(machine, "2", "SELL", 1_000.0, 97.0, TODAY + 60).halted


def test_in_a_replay_times_of_bars_and_fills_are_not_compared(bundle: Bundle) -> None:
    machine = machine_of(bundle, live_bars=False)
    bar(machine, 0, 100.0)
    fill(machine, "1", "BUY", 1_000.0, 100.0, TODAY)
    assert bar(machine, 300, 96.0).halted


def test_past_the_calendars_end_a_fill_counts_and_no_session_begins(bundle: Bundle) -> None:
    def filled() -> StateMachine:
        machine = machine_of(bundle, calendar="XSHG", timezone="Asia/Shanghai")
        fill(machine, "1", "BUY", 1_000.0, 100.0, 1_700_000_000)
        fill(machine, "2", "SELL", 999.0, 97.0, 1_700_000_060)
        fill(machine, "3", "SELL", 1.0, 97.0, 4_000_000_000)
        return machine

    account = filled().snapshot().account
    assert (account.side, account.halted) == (0, True)


@pytest.mark.parametrize("live_bars", [True, False])
def test_the_same_records_give_the_same_state(bundle: Bundle, live_bars: bool) -> None:
    machines = [machine_of(bundle, live_bars) for _ in range(2)]
    for machine in machines:
        bar(machine, TODAY, 100.0)
        fill(machine, "1", "BUY", 10.0, 101.0, TODAY + 400)
        bar(machine, TODAY + 300, 102.0)
        fill(machine, "2", "SELL", 10.0, 99.0, TODAY + DAY)
    assert machines[0].snapshot() == msgspec.structs.replace(machines[1].snapshot())


def said(request_id: str, **more: Any) -> dict[str, Any]:
    return {"symbol": "TEST", "request_id": request_id, "by": "ops", "note": "daily", **more}


def test_money_that_moves_is_no_profit_and_no_drawdown(bundle: Bundle, tmp_path: Path) -> None:
    async def work(cluster: Cluster) -> None:
        await accepted(cluster, "/fills", fills_body(posted(1, "BUY", 100.0, 100.0, commission=0)))
        withdrawal = said("a", cash=[{"kind": "transfer", "amount": -50_000.0}])
        for replica, repeated in ((0, False), (1, True)):
            found = await accepted(cluster, "/account", withdrawal, replica)
            assert (found["repeated"], found["equity"]) == (repeated, 50_000.0)
            assert (found["halted"], found["reconciled"]) == (False, True)
        assert cluster.machine(1).snapshot().account.session_peak == 50_000.0
        clash = said("a", cash=[{"kind": "transfer", "amount": 1.0}])
        assert await refused(cluster, "/account", clash) == (409, "conflict", "request_id")
        all_of_it = said("b", cash=[{"kind": "transfer", "amount": -50_000.0}])
        assert await refused(cluster, "/account", all_of_it) == (422, "invalid_field", "cash")
        nobody = {**said("b"), "note": ""}
        assert await refused(cluster, "/account", nobody) == (422, "invalid_field", "note")
        funding = said("c", cash=[{"kind": "funding", "amount": -1_100.0}])
        assert (await accepted(cluster, "/account", funding))["halted"]  # 2.2% of the peak
        await accepted(cluster, "/fills", fills_body(posted(2, "SELL", 100.0, 100.0, commission=0)))
        assert [trade.pnl for trade in cluster.machine().of().trades] == [-1_100.0]

    with_service(bundle, tmp_path, work, replicas=2)


def test_a_position_that_is_not_the_brokers_holds_until_it_is_resolved(
    bundle: Bundle, tmp_path: Path
) -> None:
    async def work(cluster: Cluster) -> None:
        async def reason() -> str:
            answer = await accepted(cluster, "/decide", {"symbol": "TEST"}, 1)
            found: str = answer["decision"]["reason"]
            return found

        await accepted(cluster, "/bars", bars_body(0, 400))
        price = float(BARS.close[399])
        await accepted(cluster, "/fills", fills_body(posted(1, "BUY", 5.0, price)))
        differs = said("a", broker={"position": 7.0, "equity": 99_000.0})
        found = await accepted(cluster, "/account", differs)
        assert (found["position_difference"], found["reconciled"]) == (2.0, False)
        assert found["equity_difference"] == 99_000.0 - found["equity"]
        assert await reason() == "position_mismatch"
        health = (await cluster.get("/health")).json()
        assert health["status"] == "critical"
        text = "the broker's position is 7 lots, by the fills 5: decisions hold"
        assert text in [alert["message"] for alert in health["alerts"]]
        await accepted(cluster, "/fills", fills_body(posted(2, "BUY", 2.0, price)))
        assert await reason() != "position_mismatch"
        short = said("b", broker={"position": -3.0})
        assert not (await accepted(cluster, "/account", short))["reconciled"]
        assert await reason() == "position_mismatch"
        taken = said("c", broker={"position": -3.0, "equity": 99_500.0}, adopt=True)
        found = await accepted(cluster, "/account", taken)
        assert (found["position"], found["equity"], found["reconciled"]) == (-3.0, 99_500.0, True)
        assert cluster.machine().snapshot().account.session_peak > 99_900.0
        assert await reason() != "position_mismatch"
        bare = said("d", adopt=True)
        assert await refused(cluster, "/account", bare) == (422, "missing_field", "broker")

    with_service(bundle, tmp_path, work, replicas=2)


def test_a_request_id_makes_an_order_count_once(bundle: Bundle, tmp_path: Path) -> None:
    async def work(cluster: Cluster) -> None:
        pause = {"action": "pause", "request_id": "a"}
        assert not (await accepted(cluster, "/admin/override", pause))["repeated"]
        await accepted(cluster, "/admin/override", {"action": "resume", "request_id": "b"})
        superseded = (409, "no_longer_in_force", "request_id")
        assert await refused(cluster, "/admin/override", pause) == superseded
        await accepted(cluster, "/admin/override", {"action": "pause", "request_id": "c"})
        again = await accepted(cluster, "/admin/override", pause)
        assert (again["repeated"], again["override"]) == (True, "pause")
        clash = {"action": "flatten", "request_id": "a"}
        assert await refused(cluster, "/admin/override", clash) == (409, "conflict", "request_id")
        wrong = {"action": "stop"}
        assert (await refused(cluster, "/admin/override", wrong))[2] == "action"

    with_service(bundle, tmp_path, work, replicas=1)


def test_a_repeated_revision_does_not_undo_a_later_one(bundle: Bundle) -> None:
    machine = machine_of(bundle)
    bar(machine, TODAY, 100.0)

    def revised(request_id: str, close: float) -> Any:
        given = BarInput(TODAY, close, close, close, close, 1.0)
        request = BarsRequest("TEST", [given], revise=True, request_id=request_id)
        return machine.check_bars(request, TODAY + DAY)

    commit(machine, revised("a", 101.0)[0])
    again = revised("a", 101.0)
    assert (again[0], again[1].repeated) == (None, 1)
    commit(machine, revised("b", 102.0)[0])
    machine = StateMachine.load(machine.dump())
    with pytest.raises(RequestError, match="its bars were revised since") as caught:
        revised("a", 101.0)
    assert (caught.value.status, caught.value.code) == (409, "no_longer_in_force")
    with pytest.raises(RequestError, match="used for another request"):
        revised("b", 103.0)


def test_a_repeated_promotion_does_not_undo_a_later_one(bundle: Bundle) -> None:
    machine = machine_of(bundle)
    first, second = (
        msgspec.structs.replace(model_record(bundle), bundle_id=letter * 64, request_id=letter)
        for letter in "ab"
    )
    commit(machine, machine.check_promotion(first))
    assert machine.check_promotion(first) is None
    commit(machine, machine.check_promotion(second))
    machine = StateMachine.load(machine.dump())
    with pytest.raises(RequestError, match="bundle bbbbbbbbbbbb was chosen since") as caught:
        machine.check_promotion(first)
    assert (caught.value.status, caught.value.code) == (409, "no_longer_in_force")
    with pytest.raises(RequestError, match="used for another request"):
        machine.check_promotion(msgspec.structs.replace(first, request_id="b"))


def test_resume_does_not_lift_a_drawdown_halt(bundle: Bundle, tmp_path: Path) -> None:
    async def work(cluster: Cluster) -> None:
        await accepted(cluster, "/bars", bars_body(0, 400))
        price = float(BARS.close[399])
        await accepted(cluster, "/fills", fills_body(posted(1, "BUY", 2_000.0, price + 5.0)))
        await accepted(cluster, "/bars", bars_body(400, 401))
        for action in ("pause", "resume"):
            await accepted(cluster, "/admin/override", {"action": action})
        answer = await accepted(cluster, "/decide", {"symbol": "TEST"}, 1)
        assert answer["decision"]["reason"] == "session_halted"
        command = answer["decision"]["execution_command"]
        assert (command["side"], command["quantity"]) == ("SELL", 2_000.0)

    with_service(bundle, tmp_path, work, replicas=2)
