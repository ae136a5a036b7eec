"""From closed bars to orders of a broker, and from its fills back: what every gateway shares.

A gateway hands over what its engine reports and carries out what ``Broker`` asks for. It does not
judge. The rules that keep money safe are here, once:

- an order's id follows from its decision, and an id is sent once: no retry can order twice;
- while an order is on its way nothing new is decided;
- fills count by their id, however often they are delivered;
- at every connect the broker's account is adopted: what was lost meanwhile is known then;
- a position whose protection was refused is closed at once;
- what cannot be known (no answer of the service, an error) is no order.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from msgspec.structs import replace

from rllib_tactical.errors import ServiceError
from serve.api.responses import AccountAnswer, DecideAnswer, ExecutionCommand
from serve.api.write_requests import MAX_BARS, BarInput, BrokerAccount, CashMove, FillInput
from serve.client import calls
from serve.client.calls import Blocking

_LOG = logging.getLogger(__name__)
ID_LENGTH: Final = 20
"""Hexadecimal digits of the decision's id in those of its orders: brokers take 36 or fewer."""

CLOSING_ATTEMPTS: Final = 5
"""How often the rest of a position is closed again at once; then a person has to look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryOrder:
    """A market order with its bracket. ``side`` +1 or -1; lots; prices.

    The three ids are the client order ids of entry, stop and target.
    """

    side: int
    quantity: float
    stop: float
    target: float
    entry_id: str
    stop_id: str
    target_id: str


class Broker(Protocol):
    """What a gateway has its engine do. None of it waits for the broker."""

    def enter(self, order: EntryOrder) -> None:
        """Send a market order and, once it is filled, its stop and its target."""

    def close_position(self, order_id: str) -> None:
        """Cancel the bracket and close the whole position at the market."""

    def account(self) -> BrokerAccount:
        """Return position and equity as the broker has them."""

    def fills(self) -> Iterable[FillInput]:
        """Return the fills that the broker knows of, oldest first, those already told included."""


class Trader:
    """Trades one instrument with a service and a broker.

    Args:
        client: the service: in this process, or a client of a running one.
        broker: carries out orders.
        symbol: of the bundle's instrument.
        clock: epoch time in seconds.
        is_fresh: whether the service begins with nothing but its rules: then the broker's equity at
            the first connect is what was paid in, no profit and no loss.
    """

    def __init__(
        self,
        client: Blocking,
        broker: Broker,
        symbol: str,
        clock: Callable[[], float],
        is_fresh: bool = True,
    ) -> None:
        self._client, self._broker, self._symbol, self._clock = client, broker, symbol, clock
        self._is_fresh = is_fresh
        self._sent: set[str] = set()
        self._attempts = 0  # to close one position
        self._told: set[str] = set()
        self._waiting: set[str] = set()  # entries and closings whose end is not known
        self._closings: set[str] = set()
        self._commands: dict[str, ExecutionCommand] = {}
        self._connects = 0
        self._is_ready = False  # whether the service has the bars that a decision needs
        self.is_connected = False
        self.answer: DecideAnswer | None = None

    def warm_up(self, bars: Iterable[BarInput]) -> int:
        """Send bars of the past, oldest first; return how many the service has.

        Raises:
            ServiceError: the service refuses them or cannot be reached.
        """
        count, part = 0, []
        for bar in bars:
            part.append(bar)
            if len(part) == MAX_BARS:
                count, part = self._send(part), []
        return self._send(part) if part else count

    def connect(self) -> None:
        """Tell the service the fills that it may not know, then adopt the broker's account.

        Raises:
            ServiceError: the service refuses it or cannot be reached; nothing is traded then.
        """
        self.is_connected = False
        for fill in self._broker.fills():
            self.filled(fill)
        account = self._broker.account()
        answer = self._reconcile(account)
        paid_in = answer.equity_difference if self._is_fresh and not self._connects else None
        answer = self._reconcile(account, paid_in or 0.0, adopt=True)
        self._connects += 1
        if answer.position_difference or answer.equity_difference:
            _LOG.warning(
                "adopted the broker's account: position %g (by %s), equity %s (by %s)",
                account.position,
                answer.position_difference,
                account.equity,
                answer.equity_difference,
            )
        self._waiting.clear()
        self.is_connected = True

    def disconnected(self) -> None:
        """Decide nothing until ``connect``."""
        self.is_connected = False

    def closed(self, bar: BarInput) -> None:
        """Take a bar that has closed, and act on the decision at its close."""
        try:
            self._send([bar])
            if not (self._is_ready and self.is_connected and not self._waiting):
                return
            self.answer = self._client.make(calls.decide(symbol=self._symbol))
        except ServiceError as error:
            # what is not known is no order
            _LOG.warning("no decision: %s", error)
            self.answer = None
            return
        command = self.answer.decision.execution_command
        if command is not None:
            self._carry_out(command)

    def filled(self, fill: FillInput, order_id: str | None = None, is_last: bool = True) -> None:
        """Report a fill once.

        Args:
            fill: with an id of the broker's.
            order_id: client order id of the order behind it, where it is known.
            is_last: whether the order is done.
        """
        if fill.fill_id not in self._told:
            command = self._commands.get(order_id or "")
            if command is not None and command.stop_loss is not None:
                fill = replace(fill, metadata=command.metadata)
            self._client.make(calls.send_fills(self._symbol, [fill]))
            self._told.add(fill.fill_id)
        if is_last and order_id is not None:
            self._waiting.discard(order_id)

    def ended(self, order_id: str) -> None:
        """Take note that an order was canceled, expired or rejected: it will not fill any more."""
        self._waiting.discard(order_id)
        if order_id in self._closings and self._attempts < CLOSING_ATTEMPTS:
            self.flatten("rest")

    def unprotected(self, reason: str) -> None:
        """Close a position whose stop or target the broker refused."""
        if not self._broker.account().position:
            return  # it was closed already: what is left of its bracket is refused for that
        _LOG.error("the bracket was refused, the position is closed: %s", reason)
        self.flatten("unprotected")

    def kill(self, by: str, note: str) -> None:
        """Close the position and order nothing until an operator resumes.

        The order to the broker goes first: it does not depend on the service.
        """
        self.flatten("kill")
        self._client.make(calls.override("flatten", note=note, by=by))

    def flatten(self, why: str) -> None:
        """Close the position now, such as before the session's close."""
        if self._broker.account().position:
            self._attempts += 1
            self._close(f"{why}-{int(self._clock() * 1000):x}-{self._attempts}")
        else:
            self._attempts = 0

    def _reconcile(
        self, account: BrokerAccount, paid_in: float = 0.0, adopt: bool = False
    ) -> AccountAnswer:
        return self._client.make(
            calls.account(
                self._symbol,
                by="gateway",
                note=f"connect {self._connects + 1}",
                cash=[CashMove("transfer", paid_in)] if paid_in else (),
                broker=account,
                adopt=adopt,
            )
        )

    def _carry_out(self, command: ExecutionCommand) -> None:
        decision = command.metadata.decision_id[:ID_LENGTH]
        if command.stop_loss is None or command.take_profit is None:
            self._close(f"{decision}-C")
            return
        order = EntryOrder(
            side=1 if command.side == "BUY" else -1,
            quantity=command.quantity,
            stop=command.stop_loss,
            target=command.take_profit,
            entry_id=f"{decision}-E",
            stop_id=f"{decision}-S",
            target_id=f"{decision}-T",
        )
        if order.entry_id in self._sent:
            _LOG.error("order %s was sent before: it is not sent again", order.entry_id)
            return
        self._sent.add(order.entry_id)
        self._waiting.add(order.entry_id)
        self._commands[order.entry_id] = command
        self._broker.enter(order)

    def _close(self, order_id: str) -> None:
        if order_id in self._sent:
            _LOG.error("order %s was sent before: it is not sent again", order_id)
            return
        self._sent.add(order_id)
        self._closings.add(order_id)
        self._waiting.add(order_id)
        self._broker.close_position(order_id)

    def _send(self, bars: list[BarInput]) -> int:
        answer = self._client.make(calls.send_bars(self._symbol, bars))
        self._is_ready = answer.ready
        return answer.bars
