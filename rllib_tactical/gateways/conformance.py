"""What every gateway must do when things go wrong: tests to inherit.

    class TestMyGateway(GatewayConformance):
        def rig(self, **faults): return MyRig(**faults)

A rig runs the gateway on its own engine; what the service decides is scripted, all else is real.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal, TypeVar

import msgspec

from rllib_tactical.errors import ServiceError
from rllib_tactical.live.local import LocalService
from serve.api import operations
from serve.api.responses import DecideAnswer, ExecutionCommand, OrderMetadata, VoteLabels
from serve.client.calls import Call

AnswerT = TypeVar("AnswerT")
Wanted = Literal["long", "short", "close", "nothing", "no answer"]


class Scripted:
    """A service in this process whose next decision is scripted; all else it does itself.

    ``wanted`` is what the next decision asks for, ``lots`` the size, ``width`` the distance of stop
    and target from the price.
    """

    def __init__(self, service: LocalService, symbol: str, lots: float, width: float) -> None:
        self.service, self._symbol, self.lots, self.width = service, symbol, lots, width
        self.wanted: Wanted = "nothing"
        self.price = 0.0
        self._decisions = 0

    def make(self, call: Call[AnswerT]) -> AnswerT:
        """Make a call; replace the order in the answer to a decision."""
        if call.operation is operations.BARS:
            self.price = float(call.body["bars"][-1].close)
        if call.operation is operations.DECIDE and self.wanted == "no answer":
            raise ServiceError("POST /decide got no answer")
        answer = self.service.make(call)
        if isinstance(answer, DecideAnswer):
            part = msgspec.structs.replace(answer.decision, execution_command=self._command())
            return msgspec.structs.replace(answer, decision=part)
        return answer

    def _command(self) -> ExecutionCommand | None:
        wanted, self.wanted = self.wanted, "nothing"
        held = self.service.account().side
        if wanted in ("nothing", "no answer") or (wanted == "close" and not held):
            return None
        self._decisions += 1
        votes = VoteLabels("long", "up", "execute")
        decision_id = f"{self._decisions:02x}" * 32
        metadata = OrderMetadata("policy", decision_id, "b" * 64, 0.8, votes, None)
        sign = -held if wanted == "close" else 1 if wanted == "long" else -1
        closes = wanted == "close"
        return ExecutionCommand(
            side="BUY" if sign > 0 else "SELL",
            quantity=self.lots,
            symbol=self._symbol,
            stop_loss=None if closes else self.price - sign * self.width,
            take_profit=None if closes else self.price + sign * self.width,
            metadata=metadata,
        )


class Rig(ABC):
    """A gateway on its engine, on a market that stands still. Faults are those of ``__init__``.

    Attributes:
        client: what decides.
        sent: client order ids of entries and closings that the engine was given, in order.
    """

    client: Scripted
    sent: list[str]

    @abstractmethod
    def bar(self, wanted: Wanted = "nothing") -> None:
        """Let one bar close on which the service decides ``wanted``, and what follows happen."""

    @abstractmethod
    def deliver_again(self) -> None:
        """Deliver every fill so far once more."""

    @abstractmethod
    def reconnect(self) -> None:
        """Lose the connection and find it again: fills that were lost are known to the engine."""

    @abstractmethod
    def kill(self) -> None:
        """Use the kill switch."""

    @property
    @abstractmethod
    def held(self) -> float:
        """Lots that the broker holds, below zero when short."""

    @property
    def known(self) -> float:
        """Lots that the service believes to hold."""
        account = self.client.service.account()
        return account.side * account.quantity


class GatewayConformance(ABC):
    """The suite; a subclass says how its rig is made. A bar's fill is there with the next bar."""

    @abstractmethod
    def rig(self, **faults: Any) -> Rig:
        """Return a fresh rig, connected and with enough bars to decide.

        Args:
            faults: ``fill_share`` of an entry that fills; ``refuses``: "entry" or "stop";
                ``loses_fills``: the first fill is not delivered; ``position``: what the broker
                holds at the start.
        """

    def test_an_order_is_filled_and_known(self) -> None:
        """The way without a fault: what the broker holds is what the service believes."""
        rig = self.rig()
        rig.bar("long")
        rig.bar()
        assert (rig.held, rig.known) == (rig.client.lots, rig.client.lots)
        rig.bar("close")
        rig.bar()
        assert (rig.held, rig.known) == (0.0, 0.0)
        assert [order_id[-2:] for order_id in rig.sent] == ["-E", "-C"]

    def test_an_id_follows_from_the_decision_and_is_sent_once(self) -> None:
        """A decision that is made again sends nothing: there is no blind retry."""
        rig = self.rig()
        rig.bar("long")
        rig.bar()
        rig.bar("close")
        rig.bar()
        rig.client._decisions = 0  # the same decision once more
        rig.bar("long")
        rig.bar()
        assert len(rig.sent) == len(set(rig.sent)) == 2
        assert (rig.held, rig.known) == (0.0, 0.0)

    def test_a_partial_fill_counts_as_far_as_it_goes(self) -> None:
        """The rest is not ordered again, and a closing closes what there is."""
        rig = self.rig(fill_share=0.5)
        rig.bar("long")
        rig.bar()
        assert (rig.held, rig.known) == (rig.client.lots / 2, rig.client.lots / 2)
        rig.bar("close")
        for _ in range(3):
            rig.bar()
        assert (rig.held, rig.known) == (0.0, 0.0)

    def test_a_refused_order_leaves_nothing_and_the_next_one_counts(self) -> None:
        """A rejection is an end like any other."""
        rig = self.rig(refuses="entry")
        rig.bar("long")
        rig.bar()
        assert (rig.held, rig.known) == (0.0, 0.0)
        rig.bar("short")
        rig.bar()
        assert (rig.held, rig.known) == (-rig.client.lots, -rig.client.lots)

    def test_a_position_whose_stop_is_refused_is_closed(self) -> None:
        """No position stays without protection."""
        rig = self.rig(refuses="stop")
        rig.bar("long")
        for _ in range(3):
            rig.bar()
        assert (rig.held, rig.known) == (0.0, 0.0)

    def test_a_fill_that_was_lost_is_known_after_the_reconnect(self) -> None:
        """And nothing is decided before it: the service's position is not the broker's."""
        rig = self.rig(loses_fills=True)
        rig.bar("long")
        rig.bar()
        assert (rig.held, rig.known) == (rig.client.lots, 0.0)
        rig.bar("long")
        assert len(rig.sent) == 1
        rig.reconnect()
        assert (rig.held, rig.known) == (rig.client.lots, rig.client.lots)
        rig.bar("close")
        rig.bar()
        assert (rig.held, rig.known) == (0.0, 0.0)

    def test_a_fill_that_is_delivered_twice_counts_once(self) -> None:
        """Also after a reconnect, when the engine tells all of them again."""
        rig = self.rig()
        rig.bar("short")
        rig.bar()
        rig.deliver_again()
        assert rig.known == -rig.client.lots
        rig.reconnect()
        assert (rig.held, rig.known) == (-rig.client.lots, -rig.client.lots)

    def test_the_broker_s_position_is_adopted_at_the_start(self) -> None:
        """The service did not know of it."""
        rig = self.rig(position=3.0)
        assert (rig.held, rig.known) == (3.0, 3.0)
        rig.bar("close")
        rig.bar()
        assert (rig.held, rig.known) == (0.0, 0.0)

    def test_the_kill_switch_closes_and_nothing_follows(self) -> None:
        """Whatever the policy asks for afterwards: the service orders nothing."""
        rig = self.rig()
        rig.bar("long")
        rig.bar()
        rig.kill()
        rig.bar()
        assert (rig.held, rig.known) == (0.0, 0.0)
        answer = rig.client.service.make(Call(operations.DECIDE, {"symbol": self.symbol}))
        assert answer.source == "override"
        assert not answer.decision.execute

    def test_no_answer_is_no_order(self) -> None:
        """The next answer counts again."""
        rig = self.rig()
        rig.bar("no answer")
        assert (rig.held, rig.sent) == (0.0, [])
        rig.bar("long")
        rig.bar()
        assert rig.held == rig.client.lots

    symbol = "TEST"
    """Of the rig's instrument."""
