"""The paper broker passes the suite that every gateway has to pass, with faults built in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.data.calendar.sessions import sessions_of
from rllib_tactical.domain.simulation.history import EMBARGO_BARS, build_history
from rllib_tactical.domain.types import Bars
from rllib_tactical.gateways.conformance import GatewayConformance, Rig, Scripted, Wanted
from rllib_tactical.gateways.paper import PaperGateway
from rllib_tactical.gateways.trader import EntryOrder, Trader
from rllib_tactical.live.broker import PaperOrder
from rllib_tactical.live.local import LocalService
from rllib_tactical.live.paper import bar_input
from serve.api.write_requests import FillInput
from tests.live.conftest import bundle as bundle

pytestmark = pytest.mark.slow

LOTS = 4.0
T = np.arange(EMBARGO_BARS + 40)
STILL = Bars(
    1_700_006_400 - 1_700_006_400 % 86_400 + 300 * T,
    open=np.full(len(T), 100.0),
    high=np.full(len(T), 100.5),
    low=np.full(len(T), 99.5),
    close=np.full(len(T), 100.0),
    volume=np.full(len(T), 10.0),
)


class FaultyPaper(PaperGateway):
    """The paper broker with the faults of a real one."""

    def __init__(self, *given: Any, fill_share: float, refuses: str | None) -> None:
        super().__init__(*given)
        self._share, self.refuses = fill_share, refuses
        self.trader: Trader
        self.sent: list[str] = []

    def enter(self, order: EntryOrder) -> None:
        self.sent.append(order.entry_id)
        if self.refuses == "entry":
            self.refuses = None
            self.trader.ended(order.entry_id)
            return
        super().enter(order)
        assert self._order is not None
        self._order = PaperOrder(
            side=order.side,
            quantity=order.quantity * self._share,
            stop=order.stop,
            target=order.target,
        )

    def close_position(self, order_id: str) -> None:
        self.sent.append(order_id)
        super().close_position(order_id)


class PaperRig(Rig):
    def __init__(
        self,
        bundle: Bundle,
        fill_share: float = 1.0,
        refuses: str | None = None,
        loses_fills: bool = False,
        position: float = 0.0,
    ) -> None:
        instrument = bundle.instrument
        self._history = build_history(STILL, sessions_of(STILL, instrument), instrument)
        self._t = EMBARGO_BARS - 1
        self._loses = loses_fills
        self._delivered: list[tuple[FillInput, str]] = []
        self.client = Scripted(LocalService(bundle), instrument.symbol, LOTS, width=5.0)
        begin = self._t - 1 if position else self._t
        self.broker = FaultyPaper(
            self._history, 100_000.0, begin, fill_share=fill_share, refuses=refuses
        )
        if position:
            held = EntryOrder(
                side=1, quantity=position, stop=1.0, target=999.0,
                entry_id="x", stop_id="y", target_id="z",
            )  # fmt: skip
            PaperGateway.enter(self.broker, held)
            self.broker.pass_bar(lambda fill, order_id: None)
        self.trader = Trader(self.client, self.broker, instrument.symbol, lambda: 1e9 + self._t)
        self.broker.trader = self.trader
        self.sent = self.broker.sent
        self.trader.warm_up(bar_input(self._history, t) for t in range(self._t + 1))
        self.trader.connect()

    def bar(self, wanted: Wanted = "nothing") -> None:
        self._t += 1
        self.broker.pass_bar(self._tell)
        if self.broker.refuses == "stop" and self.held:
            self.trader.unprotected("no stops today")
        self.client.wanted = wanted
        self.trader.closed(bar_input(self._history, self._t))

    def _tell(self, fill: FillInput, order_id: str) -> None:
        if self._loses:
            self._loses = False
            return
        self._delivered.append((fill, order_id))
        self.trader.filled(fill, order_id)

    def deliver_again(self) -> None:
        for fill, order_id in self._delivered:
            self.trader.filled(fill, order_id)

    def reconnect(self) -> None:
        self.trader.disconnected()
        self.trader.connect()

    def kill(self) -> None:
        self.trader.kill("test", "conformance")

    @property
    def held(self) -> float:
        return self.broker.account().position


class TestPaper(GatewayConformance):
    @pytest.fixture(autouse=True)
    def use(self, bundle: Bundle) -> None:
        self._bundle = bundle

    def rig(self, **faults: Any) -> Rig:
        return PaperRig(self._bundle, **faults)
