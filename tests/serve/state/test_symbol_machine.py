"""The state of one symbol goes on from its image, and counts its sessions."""

from __future__ import annotations

import msgspec

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.decision.override import Control
from serve.api.write_requests import AccountRequest, BarInput, BarsRequest, FillInput, FillsRequest
from serve.state.portfolio import Fill
from serve.state.records import ControlRecord, FillsRecord, model_record
from serve.state.symbol_machine import SymbolImage, SymbolMachine

DAY = 86_400
TODAY = 20_000 * DAY
NOW = TODAY + 9.0 * DAY


def bars(machine: SymbolMachine, opens_s: int, *closes: float) -> None:
    rows = [BarInput(opens_s + 300 * i, c, c, c, c, 1.0) for i, c in enumerate(closes)]
    machine.apply(machine.check_bars(BarsRequest(machine.symbol, rows), NOW)[0])


def test_sessions_are_counted_once_there_is_a_price(bundle: Bundle) -> None:
    machine = SymbolMachine(model_record(bundle))
    before = machine.sessions
    assert before is None
    bars(machine, TODAY, 100.0, 100.0)
    first = machine.sessions or 0
    bars(machine, TODAY + 600, 100.0)
    assert machine.sessions == first
    bars(machine, TODAY + DAY, 100.0)
    assert machine.sessions == first + 1
    revised = BarsRequest("TEST", [BarInput(TODAY + 300, 9.0, 9.0, 9.0, 9.0, 1.0)], revise=True)
    machine.apply(machine.check_bars(revised, NOW)[0])
    assert (machine.sessions, machine.amended) == (first + 1, 1)  # as if it had come so


def test_an_image_has_everything(bundle: Bundle) -> None:
    machine = SymbolMachine(model_record(bundle))
    bars(machine, TODAY, *[100.0] * 70)
    given = FillInput("1", "BUY", 5.0, 100.0, TODAY, 0.0)
    machine.apply(machine.check_fills(FillsRequest("TEST", [given]), NOW)[0])
    machine.apply(machine.check_account(AccountRequest("TEST", "a", "ann", "none"), NOW))
    machine.apply(ControlRecord(NOW, "flatten", None))
    packed = msgspec.msgpack.encode(machine.image())
    again = SymbolMachine.resumed(msgspec.msgpack.decode(packed, type=SymbolImage))
    assert again.image() == machine.image()
    assert (again.version, again.control, again.account.quantity) == (5, Control.FLATTEN, 5.0)
    assert again.check_account(AccountRequest("TEST", "a", "ann", "none"), NOW) is None


def test_a_trade_of_an_older_version_is_of_the_bundle_that_decided_then(bundle: Bundle) -> None:
    machine = SymbolMachine(model_record(bundle))
    made = [
        Fill("1", 1, 3.0, 100.0, 0.0, 10.0, "d", (1, 1, 0)),
        Fill("2", -1, 3.0, 101.0, 0.0, 20.0),
        Fill("3", 1, 3.0, 100.0, 0.0, 30.0),
        Fill("4", -1, 3.0, 101.0, 0.0, 40.0),
    ]
    machine.apply(FillsRecord(50.0, tuple(made)))
    assert [trade.bundle_id for trade in machine.trades] == [bundle.bundle_id, None]
