"""Run by the environment's pytest: the gateway passes the suite in Nautilus' backtest engine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from nautilus_trader.model.data import Bar
from nautilus_trader.model.enums import OrderSide, TimeInForce, TradingState
from nautilus_trader.model.objects import Price, Quantity

from rllib_tactical.bundle.bundle import load_bundle
from rllib_tactical.gateways.conformance import GatewayConformance, Rig, Scripted, Wanted
from rllib_tactical.gateways.nautilus.backtest import (
    DEPTH,
    bar_type,
    make_engine,
    ticks_of,
)
from rllib_tactical.gateways.nautilus.instruments import instrument_for
from rllib_tactical.gateways.nautilus.strategy import NANOS

LOTS, WIDTH = 4.0, 5.0
START = 1_700_006_400 - 1_700_006_400 % 86_400
BUNDLE = load_bundle(Path(os.environ["TACTICAL_TEST_BUNDLE"]))


class NautilusRig(Rig):
    def __init__(
        self,
        fill_share: float = 1.0,
        refuses: str | None = None,
        loses_fills: bool = False,
        position: float = 0.0,
    ) -> None:
        self._engine, self.strategy = make_engine(BUNDLE, reject_stop_orders=refuses == "stop")
        self._instrument = instrument_for(BUNDLE.instrument, "SIM")
        self._kind = bar_type(BUNDLE, self._instrument.id)
        self._t, self._share, self._refuses = 0, fill_share, refuses
        self._price, self._depth = 100.0, float(DEPTH)
        self._risk = self._engine.kernel.risk_engine
        self.client = Scripted(self.strategy.service, "TEST", LOTS, WIDTH)
        self.strategy.trader._client = self.client
        self.sent = []
        self._delivered: list[tuple[Any, ...]] = []
        self._loses = loses_fills
        self._watch()
        while self._t < 362:
            self._pass()
        if position:
            self._hold(position)

    def _watch(self) -> None:
        strategy, trader = self.strategy, self.strategy.trader
        enter, close, filled = strategy.enter, strategy.close_position, trader.filled

        def entering(order: Any) -> None:
            self.sent.append(order.entry_id)
            if self._refuses == "entry":
                self._risk.set_trading_state(TradingState.HALTED)
            enter(order)

        def closing(order_id: str) -> None:
            self.sent.append(order_id)
            close(order_id)

        def telling(*given: Any) -> None:
            if self._loses:
                self._loses = False
                return
            self._delivered.append(given)
            filled(*given)

        trader._broker = strategy
        strategy.__dict__.update(enter=entering, close_position=closing)
        trader.__dict__.update(filled=telling)
        self._filled = filled

    def _hold(self, position: float) -> None:
        """Let the account have a position that the service does not know of."""
        self.strategy.trader.disconnected()
        self._loses = True
        self.strategy.submit_order(
            self.strategy.order_factory.market(
                instrument_id=self._instrument.id,
                order_side=OrderSide.BUY,
                quantity=self._instrument.make_qty(position),
                time_in_force=TimeInForce.IOC,
            )
        )
        self._pass()

    def _pass(self) -> None:
        open_s = START + 300 * self._t
        price = self._price
        prices = (price, price + 0.5, price - 0.5, price)
        data: list[Any] = ticks_of(self._instrument, prices, open_s, 300, depth=self._depth)
        end = (open_s + 300) * NANOS
        ohlc = (Price(value, 2) for value in prices)
        data.append(Bar(self._kind, *ohlc, Quantity(10, 9), end, end))
        self._engine.add_data(data)
        self._engine.run(streaming=True)
        self._engine.clear_data()
        self._t += 1

    def bar(self, wanted: Wanted = "nothing") -> None:
        self.client.wanted = wanted
        if wanted in ("long", "short"):
            self._pass()
            # what follows meets the order
            self._depth = LOTS * self._share if self._share < 1.0 else float(DEPTH)
            self._price = 90.0 if self._refuses == "stop" else 100.0
            return
        self._pass()
        self._depth = float(DEPTH)
        if self._refuses == "entry":
            self._refuses = None
            self._risk.set_trading_state(TradingState.ACTIVE)

    def deliver_again(self) -> None:
        for given in self._delivered:
            self._filled(*given)

    def reconnect(self) -> None:
        self.strategy.trader.disconnected()
        self.strategy.trader.connect()

    def kill(self) -> None:
        self.strategy.kill("conformance")

    @property
    def held(self) -> float:
        return float(self.strategy.portfolio.net_position(self._instrument.id))


class TestNautilus(GatewayConformance):
    rigs: list[NautilusRig]

    @pytest.fixture(autouse=True)
    def _dispose(self) -> Any:
        self.rigs = []
        yield
        for rig in self.rigs:
            rig._engine.dispose()

    def rig(self, **faults: Any) -> Rig:
        self.rigs.append(NautilusRig(**faults))
        return self.rigs[-1]
