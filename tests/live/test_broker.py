"""The paper broker fills orders as the simulator does, and gives none itself."""

from __future__ import annotations

import pytest

from rllib_tactical.domain.simulation.transition import ExitReason
from rllib_tactical.live.broker import PaperBroker, PaperFill, PaperOrder
from tests.domain.builders import FREE, hand_history

QUIET = (100.0, 101.0, 99.0, 100.0)
LONG = PaperOrder(side=1, quantity=10.0, stop=98.0, target=103.0)
CLOSE = PaperOrder(side=-1, quantity=10.0)


def broker(*rows: tuple[float, ...]) -> PaperBroker:
    return PaperBroker(hand_history([QUIET, *rows, QUIET], instrument=FREE), 100_000.0, 0)


def test_an_order_is_filled_at_the_next_open_and_its_stop_inside_the_bar() -> None:
    account = broker(QUIET, (100, 101, 97, 100))
    entry = PaperFill(bar=1, side=1, quantity=10.0, price=100.0)
    assert account.trade(LONG) == [entry]
    assert (account.t, account.position) == (1, 10.0)
    (stopped,) = account.trade(None)
    assert stopped == PaperFill(
        bar=2, side=-1, quantity=10.0, price=98.0, exit_reason=ExitReason.STOP, at_open=False
    )
    point_value = FREE.point_value
    assert (account.position, account.equity) == (0.0, 100_000.0 - 20.0 * point_value)


def test_entry_and_exit_on_one_bar_come_in_their_order() -> None:
    reasons = [fill.exit_reason for fill in broker((100, 101, 97, 100)).trade(LONG)]
    assert reasons == [ExitReason.NONE, ExitReason.STOP]


@pytest.mark.parametrize("close", [95.0, 60.0])
def test_a_loss_closes_nothing_unless_an_order_does(close: float) -> None:
    """The simulator would close at the drawdown limit; here that is the service's to order."""
    account = broker(QUIET, (close, close, close, close), (close, close, close, close))
    account.trade(PaperOrder(side=1, quantity=100.0, stop=1.0, target=1_000.0))
    assert account.trade(None) == []
    assert account.position == 100.0
    (closed,) = account.trade(PaperOrder(side=-1, quantity=100.0))
    assert (closed.side, closed.price, closed.at_open) == (-1, close, True)
    assert account.position == 0.0
