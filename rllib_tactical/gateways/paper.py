"""The paper broker behind the interface of a gateway: an engine without faults, on a history."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rllib_tactical.data.calendar.bar_length import BAR_SECONDS
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.domain.simulation.transition import ExitReason
from rllib_tactical.gateways.trader import EntryOrder
from rllib_tactical.live.broker import PaperBroker, PaperFill, PaperOrder
from serve.api.write_requests import BrokerAccount, FillInput

Told = Callable[[FillInput, str], None]
"""Called with each fill and the client order id of its order."""


class PaperGateway:
    """Fills orders of a ``Trader`` by the rules of the simulator, one bar after the other.

    Args:
        history: the market.
        equity: dollars of the account.
        t: the bar at whose close the first order may be given.
        bar_seconds: length of a bar.
    """

    def __init__(
        self, history: MarketHistory, equity: float, t: int, bar_seconds: int = BAR_SECONDS
    ) -> None:
        self._broker = PaperBroker(history, equity, t)
        self._bar_seconds = bar_seconds
        self._order: PaperOrder | None = None
        self._ids = "", "", ""
        self._entry_price: float | None = None
        self._fills: list[FillInput] = []

    def enter(self, order: EntryOrder) -> None:
        """Send a market order with its bracket."""
        self._ids = order.entry_id, order.stop_id, order.target_id
        self._order = PaperOrder(
            side=order.side, quantity=order.quantity, stop=order.stop, target=order.target
        )

    def close_position(self, order_id: str) -> None:
        """Close the position at the next open."""
        held = self._broker.position
        self._ids = order_id, *self._ids[1:]
        self._order = PaperOrder(side=-1 if held > 0 else 1, quantity=abs(held))

    def account(self) -> BrokerAccount:
        """Return position, equity and entry price."""
        return BrokerAccount(
            position=self._broker.position,
            equity=self._broker.equity,
            entry_price=self._entry_price if self._broker.position else None,
        )

    def fills(self) -> Iterable[FillInput]:
        """Return all fills so far."""
        return list(self._fills)

    def pass_bar(self, told: Told) -> None:
        """Let the next bar pass, and tell of its fills."""
        order, self._order = self._order, None
        for fill in self._broker.trade(order):
            given, order_id = self._report(fill)
            self._fills.append(given)
            told(given, order_id)

    def _report(self, fill: PaperFill) -> tuple[FillInput, str]:
        first, stop, target = self._ids
        by = {ExitReason.STOP: stop, ExitReason.TARGET: target}
        order_id = by.get(fill.exit_reason, first)
        if fill.exit_reason is ExitReason.NONE:
            self._entry_price = fill.price
        open_s = int(self._broker.history.bars.timestamp_s[fill.bar])
        given = FillInput(
            fill_id=f"{order_id}:{fill.bar}",
            side="BUY" if fill.side > 0 else "SELL",
            quantity=fill.quantity,
            price=fill.price,
            timestamp=open_s if fill.at_open else open_s + self._bar_seconds - 1,
        )
        return given, order_id
