"""The paper broker as a gateway: ids, times and prices of what it tells."""

from __future__ import annotations

from rllib_tactical.gateways.paper import PaperGateway
from rllib_tactical.gateways.trader import EntryOrder
from serve.api.write_requests import FillInput
from tests.domain.builders import FREE, hand_history

QUIET = (100.0, 101.0, 99.0, 100.0)
ORDER = EntryOrder(
    side=-1, quantity=10.0, stop=103.0, target=98.0, entry_id="E", stop_id="S", target_id="T"
)


def test_fills_carry_the_id_of_their_order_and_the_time_in_their_bar() -> None:
    rows = [QUIET, QUIET, (100.0, 101.0, 97.0, 100.0), QUIET, QUIET, QUIET]
    history = hand_history(rows, instrument=FREE)
    gateway, told = PaperGateway(history, 100_000.0, 0), []

    def tell(fill: FillInput, order_id: str) -> None:
        told.append((order_id, fill.side, fill.quantity, fill.price, fill.timestamp))

    times = history.bars.timestamp_s
    gateway.enter(ORDER)
    gateway.pass_bar(tell)
    assert told == [("E", "SELL", 10.0, 100.0, times[1])]
    account = gateway.account()
    assert (account.position, account.entry_price, account.equity) == (-10.0, 100.0, 100_000.0)
    gateway.pass_bar(tell)
    assert told[1:] == [("T", "BUY", 10.0, 98.0, times[2] + 299)]
    assert gateway.account().entry_price is None
    gateway.enter(ORDER)
    gateway.pass_bar(tell)
    gateway.close_position("C")
    gateway.pass_bar(tell)
    assert [each[0] for each in told] == ["E", "T", "E", "C"]
    assert [fill.fill_id for fill in gateway.fills()] == ["E:1", "T:2", "E:3", "C:4"]
