"""What was wrong and is put right has left nothing behind: bars that were revised or came late."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.decision.risk import RiskConfig
from rllib_tactical.domain.types import Instrument
from serve.api.write_requests import BarInput, BarsRequest, FillInput, FillsRequest
from serve.state import bars as bars_module
from serve.state import ledger as ledger_module
from serve.state.bar_streams import ClosedBar
from serve.state.ledger import Event, Filled, Ledger, LedgerImage, RulesChosen, SessionBegan
from serve.state.machine import StateMachine
from serve.state.portfolio import Fill
from tests.serve.state.test_machine import DAY, TODAY, commit, machine_of

MARKET = Instrument(symbol="TEST", tick_size=0.01, calendar="24/7")
RULES = RulesChosen(RiskConfig(), True)


def bar_of(time_s: int, close: float, volume: float = 10.0) -> BarInput:
    return BarInput(time_s, close - 0.05, close + 0.1, close - 0.1, close, volume)


def walked(seed: int, count: int) -> list[BarInput]:
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.002, count)))
    start = TODAY + DAY - 150 * 300
    return [
        bar_of(start + 300 * t, float(close[t]), float(rng.integers(1, 99))) for t in range(count)
    ]


def send(machine: StateMachine, *bars: BarInput, revise: bool = False) -> None:
    request = BarsRequest("TEST", list(bars), revise=revise)
    commit(machine, machine.check_bars(request, TODAY + 99 * DAY)[0])


def trade(machine: StateMachine, bar: BarInput, number: int) -> None:
    side: Any = ("BUY", "SELL")[number % 2]
    moment = int(bar.timestamp) + 301  # type: ignore[arg-type]
    given = FillInput(f"fill-{number}", side, 50.0 + number, bar.close, moment)
    commit(machine, machine.check_fills(FillsRequest("TEST", [given]), moment)[0])


def is_wrong(machine: StateMachine, bar: BarInput) -> bool:
    return not machine.check_bars(BarsRequest("TEST", [bar], True), TODAY + 99 * DAY)[1].repeated


def observed(machine: StateMachine) -> Any:
    """Return all that decisions and reports see, and all that later ones will be made from."""
    own = machine.of()
    return own.buffer.image(), msgspec.structs.replace(own._ledger.image(), amended=0)


@pytest.mark.slow
@pytest.mark.parametrize("live_bars", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_bars_put_right_and_bars_taken_in_late_give_what_right_bars_give(
    bundle: Bundle, seed: int, live_bars: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bars_module, "CHECKPOINT_BARS", 32)
    monkeypatch.setattr(ledger_module, "CHECKPOINT_EVENTS", 32)
    rng = np.random.default_rng(seed)
    bars = walked(seed, 420)
    right, wrong = (machine_of(bundle, live_bars) for _ in range(2))
    for number, bar in enumerate(bars):
        send(right, bar)
        if number % 17 == 3:
            trade(right, bar, number)
    number = 0
    while number < len(bars):
        bar = bars[number]
        if rng.random() < 0.1 and number % 17 != 3 and 2 < number + 1 < len(bars):
            send(wrong, bars[number + 1])
            send(wrong, bar)
            number += 1
        elif rng.random() < 0.1:
            send(wrong, bar_of(int(bar.timestamp), 10.0 * bar.close))  # type: ignore[arg-type]
        else:
            send(wrong, bar)
        if number % 17 == 3:
            trade(wrong, bars[number], number)
        if rng.random() < 0.1:
            wrong = StateMachine.load(wrong.dump())
        number += 1
    assert observed(wrong) != observed(right)  # a print of ten times the price halted the session
    put_right = [bar for bar in bars if is_wrong(wrong, bar)]
    assert put_right
    for bar in put_right:
        send(wrong, bar, revise=True)
    assert observed(wrong) == observed(right)


def test_a_wrong_print_that_is_revised_lifts_the_halt_that_it_caused(bundle: Bundle) -> None:
    machine = machine_of(bundle)
    first, second, third = walked(0, 3)
    send(machine, first)
    trade(machine, first, 0)
    send(machine, bar_of(int(second.timestamp), 10.0 * second.close), third)  # type: ignore[arg-type]
    assert machine.snapshot().account.halted
    send(machine, second, revise=True)
    account = machine.snapshot().account
    assert not account.halted
    assert account.session_peak < 101_000.0


@pytest.mark.parametrize("live_bars", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_corrected_and_busted_fills_have_never_been(
    bundle: Bundle, seed: int, live_bars: bool
) -> None:
    rng = np.random.default_rng(seed)
    right, wrong = (machine_of(bundle, live_bars) for _ in range(2))
    pending: list[FillsRequest] = []

    def fills(machine: StateMachine, request: FillsRequest) -> None:
        commit(machine, machine.check_fills(request, TODAY + 9 * DAY)[0])

    for number, bar in enumerate(walked(seed, 300)):
        if rng.random() < 0.8:  # without bars fills mark the account
            send(right, bar)
            send(wrong, bar)
        if rng.random() < 0.2:
            side: Any = "BUY" if rng.random() < 0.5 else "SELL"
            moment = int(bar.timestamp) + 301  # type: ignore[arg-type]
            given = FillInput(f"{number}", side, float(rng.integers(1, 300)), bar.close, moment)
            replace = msgspec.structs.replace
            kind = rng.random()
            if kind < 0.3:
                fills(wrong, FillsRequest("TEST", [replace(given, side="SELL", price=2.0)]))
                given = replace(given, fill_id=f"{number} again")
                fills(right, FillsRequest("TEST", [given]))
                pending.append(FillsRequest("TEST", [replace(given, corrects=f"{number}")]))
            elif kind < 0.6:
                fills(wrong, FillsRequest("TEST", [given]))
                pending.append(FillsRequest("TEST", [], [given.fill_id], "the broker busted it"))
            else:
                for machine in (right, wrong):
                    fills(machine, FillsRequest("TEST", [given]))
        if rng.random() < 0.05:
            wrong = StateMachine.load(wrong.dump())
    assert len(pending) > 10
    for place in rng.permutation(len(pending)).tolist():
        fills(wrong, pending[place])
        again = wrong.check_fills(pending[place], TODAY + 9 * DAY)
        assert (again[0], again[1].repeated) == (None, 1)
    assert wrong.snapshot() == right.snapshot()
    assert wrong.of().trades == right.of().trades


def test_events_older_than_those_kept_count_and_are_not_put_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = Ledger(MARKET, 300, RULES)
    monkeypatch.setattr(ledger_module, "KEPT_EVENTS", 10)
    short = Ledger(MARKET, 300, RULES)
    bars = [ClosedBar(TODAY + 300 * t, 100.0 + t, False) for t in range(30)]
    bought = Filled(Fill("1", 1, 3.0, 100.0, 0.0, TODAY + 1.0))
    events: list[Event] = [bought, *bars[:10], SessionBegan(TODAY + 3e3), *bars[10:]]
    for event in events:
        short.apply(event)
    monkeypatch.setattr(ledger_module, "KEPT_EVENTS", 99)
    for event in events:
        whole.apply(event)
    assert short.now.state() == whole.now.state()
    short.close([ClosedBar(bars[3].time_s, 900.0, False)])
    assert short.now.state() == whole.now.state()
    for ledger in (short, whole):
        ledger.close([ClosedBar(bars[25].time_s, 200.0, False)])
    assert short.now.state() == whole.now.state()
    assert short.now.portfolio.account.session_peak == 100_300.0


def test_a_ledger_goes_on_from_its_image() -> None:
    ledger, copy = (Ledger(MARKET, 300, RULES) for _ in range(2))
    fills = [Fill(str(i), (-1) ** i, 3.0, 100.0 + i, 0.5, TODAY + i) for i in range(5)]
    for fill in fills:
        ledger.apply(Filled(fill))
    image = msgspec.msgpack.decode(msgspec.msgpack.encode(ledger.image()), type=LedgerImage)
    copy.resume(image)
    for each in (ledger, copy):
        each.apply(RulesChosen(RiskConfig(initial_equity=5e4), False))
        each.close([ClosedBar(TODAY, 100.0, True)])
    assert copy.image() == ledger.image()
    assert len(copy.now.portfolio.trades) == 2
