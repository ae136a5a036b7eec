"""What the trader does with money and errors; the suite of gateways has the rest."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.simulation.history import EMBARGO_BARS
from rllib_tactical.gateways.trader import CLOSING_ATTEMPTS, EntryOrder, Trader
from rllib_tactical.live.local import LocalService
from serve.api.write_requests import BarInput, BrokerAccount, FillInput
from tests.live.conftest import bundle as bundle

pytestmark = pytest.mark.slow

START = 1_700_000_100


class Stubborn:
    """A broker that holds a position and does not let it go."""

    def __init__(self, position: float, equity: float) -> None:
        self.position, self.equity = position, equity
        self.closed: list[str] = []

    def enter(self, order: EntryOrder) -> None:
        raise AssertionError(order)

    def close_position(self, order_id: str) -> None:
        self.closed.append(order_id)

    def account(self) -> BrokerAccount:
        return BrokerAccount(self.position, self.equity, 100.0 if self.position else None)

    def fills(self) -> Iterable[FillInput]:
        return []


def made(bundle: Bundle, broker: Stubborn, is_fresh: bool = True) -> tuple[LocalService, Trader]:
    service = LocalService(bundle)
    trader = Trader(service, broker, "TEST", lambda: 1e9, is_fresh)
    trader.warm_up(BarInput(START + 300 * n, 100.0, 100.5, 99.5, 100.0, 5.0) for n in range(1_200))
    return service, trader


def test_the_equity_of_the_first_connect_was_paid_in_that_of_later_ones_was_earned(
    bundle: Bundle,
) -> None:
    broker = Stubborn(0.0, 25_000.0)
    service, trader = made(bundle, broker)
    trader.connect()
    account = service.account()
    assert (account.equity, account.session_peak, account.halted) == (25_000.0, 25_000.0, False)
    broker.equity = 24_000.0  # 4%: beyond the limit of a session's drawdown
    trader.disconnected()
    trader.connect()
    account = service.account()
    assert (account.equity, account.session_peak, account.halted) == (24_000.0, 25_000.0, True)


def test_a_service_that_has_a_state_of_its_own_counts_every_difference(bundle: Bundle) -> None:
    service, trader = made(bundle, Stubborn(0.0, 90_000.0), is_fresh=False)
    trader.connect()
    assert service.account().halted


def test_bars_of_the_past_go_in_as_few_requests_as_possible(bundle: Bundle) -> None:
    service, trader = made(bundle, Stubborn(0.0, 1e5))
    market = service._machine.of().market()
    assert (market.bars, trader.warm_up([])) == (1_200, 0)
    assert market.bars > EMBARGO_BARS
    assert service._machine.version == 3  # two requests


def test_a_position_that_cannot_be_closed_is_tried_a_few_times_and_then_left_to_a_person(
    bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    broker = Stubborn(2.0, 1e5)
    _, trader = made(bundle, broker)
    trader.connect()
    with caplog.at_level(logging.ERROR):
        trader.unprotected("no stops here")
    assert "the bracket was refused, the position is closed: no stops here" in caplog.text
    while len(broker.closed) < 20:
        before = len(broker.closed)
        trader.ended(broker.closed[-1])
        if len(broker.closed) == before:
            break
    assert len(broker.closed) == len(set(broker.closed)) == CLOSING_ATTEMPTS
    broker.position = 0.0
    trader.flatten("session")
    assert len(broker.closed) == CLOSING_ATTEMPTS


def test_a_refused_bracket_of_a_position_that_is_gone_closes_nothing(bundle: Bundle) -> None:
    broker = Stubborn(0.0, 1e5)
    _, trader = made(bundle, broker)
    trader.connect()
    trader.unprotected("its stop was filled")
    assert broker.closed == []
