"""What marks the account: bars, fills where no bars come, and the clock."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.simulation.account import Account
from serve.api.write_requests import BarInput, BarsRequest, FillInput, FillsRequest
from serve.state.machine import Desk, ModelRecord, Record, model_record

DAY = 86_400
TODAY = 20_000 * DAY
"""A midnight of a market that is open around the clock."""


def desk_of(bundle: Bundle, live_bars: bool = True, **instrument: Any) -> Desk:
    desk = Desk()
    record = model_record(bundle, live_bars=live_bars)
    desk.apply(msgspec.structs.replace(record, instrument=record.instrument | instrument))
    return desk


def commit(desk: Desk, record: Record | None) -> None:
    assert record is not None
    desk.apply(record)


def fill(desk: Desk, fill_id: str, side: str, quantity: float, price: float, at_s: int) -> Account:
    given = FillInput(fill_id, side, quantity, price, at_s, commission=0.0)  # type: ignore[arg-type]
    commit(desk, desk.check_fills(FillsRequest("TEST", [given]), at_s + 9 * DAY)[0])
    return desk.snapshot().account


def bar(desk: Desk, opens_s: int, close: float) -> Account:
    given = BarInput(opens_s, close, close, close, close, 1.0)
    commit(desk, desk.check_bars(BarsRequest("TEST", [given]), opens_s + 9 * DAY)[0])
    return desk.snapshot().account


def test_a_late_fill_neither_lifts_a_halt_nor_marks_at_its_old_price(bundle: Bundle) -> None:
    desk = desk_of(bundle)
    fill(desk, "1", "BUY", 1_000.0, 100.0, TODAY + 3600)
    assert fill(desk, "2", "SELL", 1_000.0, 97.0, TODAY + 3700).halted
    assert fill(desk, "3", "BUY", 1.0, 80.0, TODAY - 3600).halted
    assert desk.check_session(TODAY + 3800) is None

    desk = desk_of(bundle)
    fill(desk, "1", "BUY", 1_000.0, 100.0, TODAY + 3600)
    account = fill(desk, "2", "SELL", 1.0, 80.0, TODAY - 3600)
    assert account.equity == account.cash + 999.0 * (100.0 - account.entry_price)
    assert not account.halted


def test_every_session_begins_with_its_own_drawdown(bundle: Bundle) -> None:
    desk = desk_of(bundle)
    fill(desk, "1", "BUY", 1_000.0, 100.0, TODAY)
    lost = fill(desk, "2", "SELL", 1_000.0, 98.6, TODAY + 60)
    assert (lost.session_peak, lost.equity, lost.halted) == (100_000.0, 98_600.0, False)
    assert fill(desk, "3", "BUY", 1e-6, 98.6, TODAY + DAY - 60).session_peak == 100_000.0
    assert desk.check_session(TODAY + DAY - 1) is None
    commit(desk, desk.check_session(TODAY + DAY))
    assert desk.snapshot().account.session_peak == pytest.approx(98_600.0)
    assert desk.check_session(TODAY + DAY + 3600) is None  # once


def test_bars_that_came_long_ago_do_not_keep_fills_from_marking(bundle: Bundle) -> None:
    desk = desk_of(bundle)
    bar(desk, TODAY - 9 * DAY, 100.0)
    fill(desk, "1", "BUY", 1_000.0, 100.0, TODAY + 3600)
    assert fill(desk, "2", "SELL", 1_000.0, 97.0, TODAY + 3700).halted
    commit(desk, desk.check_session(TODAY + DAY + 600))
    assert not desk.snapshot().account.halted


def test_bars_of_the_past_do_not_mark_what_newer_fills_have_marked(bundle: Bundle) -> None:
    desk = desk_of(bundle)
    before = fill(desk, "1", "BUY", 1_000.0, 100.0, TODAY + 3600)
    assert bar(desk, TODAY - 600, 50.0) == before
    assert bar(desk, TODAY + 3300 - 300, 50.0) == before
    marked = bar(desk, TODAY + 3300, 99.0)  # it ends when the fill was, a second before: older
    assert marked == before
    assert bar(desk, TODAY + 3600, 99.0).equity == before.equity - 1_000.0


def test_while_bars_come_they_alone_mark_and_begin_sessions(bundle: Bundle) -> None:
    """A fill at its own price, or the clock a moment before the first bar, would tell otherwise."""
    desk = desk_of(bundle)
    last = TODAY + DAY - 300
    before = bar(desk, last, 100.0)
    filled = fill(desk, "1", "BUY", 1_000.0, 105.0, last + 600)
    assert (filled.equity, filled.halted) == (before.equity, False)
    assert desk.check_session(TODAY + DAY + 599) is None
    began = bar(desk, TODAY + DAY, 104.0)
    assert (began.equity, began.session_peak) == (99_000.0, 100_000.0)
    assert desk.check_session(TODAY + DAY + 599) is None

    late = desk_of(bundle)
    bar(late, last, 100.0)
    commit(late, late.check_session(TODAY + DAY + 600))
    fill(late, "1", "BUY", 100.0, 105.0, TODAY + DAY + 601)
    account = bar(late, TODAY + DAY + 600, 104.0)  # no second begin of the same session
    assert (account.equity, account.session_peak) == (99_900.0, 100_000.0)


def test_bars_that_come_after_the_clock_began_a_session_give_what_they_would_have_before(
    bundle: Bundle,
) -> None:
    """The feed was down over midnight: 1.5% were lost before it, 0.7% after."""
    accounts = []
    for clock in (False, True):
        desk = desk_of(bundle)
        bar(desk, TODAY + 22 * 3600, 100.0)
        fill(desk, "1", "BUY", 1_000.0, 100.0, TODAY + 22 * 3600 + 400)
        if clock:
            commit(desk, desk.check_session(TODAY + DAY + 1800))
        bar(desk, TODAY + 23 * 3600, 99.0)
        bar(desk, TODAY + DAY - 300, 98.5)
        bar(desk, TODAY + DAY, 98.0)
        accounts.append(bar(desk, TODAY + DAY + 300, 97.8))
        assert desk.check_session(TODAY + DAY + 3600) is None
    assert accounts[0] == accounts[1]
    assert (accounts[0].equity, accounts[0].session_peak) == (97_800.0, 98_500.0)


def test_a_clock_that_was_ahead_stops_neither_marks_nor_sessions(bundle: Bundle) -> None:
    desk = desk_of(bundle)
    bar(desk, TODAY, 100.0)
    commit(desk, desk.check_session(TODAY + 30 * DAY))
    fill(desk, "1", "BUY", 1_000.0, 100.0, TODAY + 400)
    assert bar(desk, TODAY + 300, 97.0).halted
    assert not bar(desk, TODAY + DAY, 97.0).halted
    assert bar(desk, TODAY + DAY + 300, 90.0).halted
    assert desk.check_session(TODAY + DAY + 3600) is None
    commit(desk, desk.check_session(TODAY + 2 * DAY + 600))
    assert desk.check_session(TODAY + 2 * DAY + 1200) is None  # once
    assert not desk.snapshot().account.halted


def test_a_date_without_trading_is_no_session(bundle: Bundle) -> None:
    friday = 1_710_187_200 - 3 * DAY  # 2024-03-08, 20:00 UTC
    desk = desk_of(bundle, calendar="XNYS", timezone="America/New_York")
    fill(desk, "1", "BUY", 1_000.0, 100.0, friday)
    assert fill(desk, "2", "SELL", 1_000.0, 97.0, friday + 60).halted
    opens = friday + 3 * DAY - 6 * 3600 - 1800  # Monday, 9:30 in New York after clocks changed
    for moment in (friday + 6 * 3600, friday + DAY, opens - 1):
        assert desk.check_session(moment) is None
    commit(desk, desk.check_session(opens))
    assert not desk.snapshot().account.halted


def test_a_journal_that_does_not_tell_is_read_as_it_was_written(bundle: Bundle) -> None:
    """Before bars were said to be live or not, fills never marked once there was a bar."""
    raw = msgspec.to_builtins(model_record(bundle))
    del raw["live_bars"]
    desk = Desk()
    desk.apply(msgspec.convert(raw, ModelRecord))
    bar(desk, TODAY - 9 * DAY, 100.0)
    fill(desk, "1", "BUY", 1_000.0, 100.0, TODAY)
    assert not fill(desk, "2", "SELL", 1_000.0, 97.0, TODAY + 60).halted


def test_in_a_replay_times_of_bars_and_fills_are_not_compared(bundle: Bundle) -> None:
    desk = desk_of(bundle, live_bars=False)
    bar(desk, 0, 100.0)
    fill(desk, "1", "BUY", 1_000.0, 100.0, TODAY)
    assert desk.check_session(TODAY + 9 * DAY) is None
    assert bar(desk, 300, 96.0).halted


def test_past_the_calendars_end_a_fill_counts_and_no_session_begins(bundle: Bundle) -> None:
    def filled() -> Desk:
        desk = desk_of(bundle, calendar="XSHG", timezone="Asia/Shanghai")
        fill(desk, "1", "BUY", 1_000.0, 100.0, 1_700_000_000)
        fill(desk, "2", "SELL", 999.0, 97.0, 1_700_000_060)
        fill(desk, "3", "SELL", 1.0, 97.0, 4_000_000_000)
        return desk

    desk = filled()
    account = desk.snapshot().account
    assert (account.side, account.halted) == (0, True)
    assert desk.check_session(4_100_000_000) is None


@pytest.mark.parametrize("live_bars", [True, False])
def test_the_same_records_give_the_same_state(bundle: Bundle, live_bars: bool) -> None:
    desks = [desk_of(bundle, live_bars) for _ in range(2)]
    for desk in desks:
        bar(desk, TODAY, 100.0)
        fill(desk, "1", "BUY", 10.0, 101.0, TODAY + 400)
        bar(desk, TODAY + 300, 102.0)
        fill(desk, "2", "SELL", 10.0, 99.0, TODAY + DAY)
    assert desks[0].snapshot() == msgspec.structs.replace(desks[1].snapshot())
