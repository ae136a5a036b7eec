"""Which calls a paper session makes; ``test_parity_over_http`` makes them of a service."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from rllib_tactical.domain.simulation.transition import ExitReason
from rllib_tactical.live.paper import bar_input, follow, order_of, paper_session
from serve.api import operations
from serve.api.responses import (
    AgentBreakdown,
    AgentVote,
    DecideAnswer,
    DecisionPart,
    ExecutionCommand,
    OrderMetadata,
    ReasonCode,
    Scores,
    Timing,
    VoteLabels,
)
from serve.client.calls import Call
from tests.market import random_history

HISTORY = random_history(1_500, seed=3)
FIRST = HISTORY.first_decision


def command(number: int, side: Any, stop: float | None, target: float | None) -> ExecutionCommand:
    votes = VoteLabels("long", "up", "execute")
    metadata = OrderMetadata("policy", f"decision-{number}", "b" * 64, 0.8, votes, None)
    return ExecutionCommand(
        side=side,
        quantity=10.0,
        symbol="TEST",
        stop_loss=stop,
        take_profit=target,
        metadata=metadata,
    )


OPEN = command(1, "BUY", 1.0, 1e6)
CLOSE = command(2, "SELL", None, None)


def answer(order: ExecutionCommand | None) -> DecideAnswer:
    vote = AgentVote(0, 1, None, 0.5, "hold", 0.0)
    part = DecisionPart(
        "hold", 0.5, order is not None, ReasonCode("execute"), "hold", Scores(0.0, 0.0, 1.0), order
    )
    breakdown = AgentBreakdown(vote, vote, vote)
    return DecideAnswer(part, breakdown, Timing(0.0, 0.0, 0.0, 0.0), "policy", "d", "b")


class Service:
    """Gives orders at chosen decisions, and remembers the calls."""

    def __init__(self, orders: dict[int, ExecutionCommand]) -> None:
        self.calls: list[Call[Any]] = []
        self._orders, self._decided = orders, 0

    def make(self, call: Call[Any]) -> Any:
        self.calls.append(call)
        if call.operation is not operations.DECIDE:
            return None
        self._decided += 1
        return answer(self._orders.get(self._decided - 1))


def test_bars_decisions_and_fills_come_in_the_order_of_the_market() -> None:
    service = Service({0: OPEN, 2: CLOSE})
    result = follow(service, paper_session(HISTORY, 100_000.0))
    paths = [call.operation.path for call in service.calls]
    assert paths[:9] == [
        "/bars", "/bars", "/decide", "/fills", "/bars", "/decide", "/bars", "/decide", "/fills",
    ]  # fmt: skip
    assert paths[-2:] == ["/decide", "/bars"]  # nothing is decided on the last bar
    sent = [
        b for call in service.calls if call.operation.path == "/bars" for b in call.body["bars"]
    ]
    assert sent == [bar_input(HISTORY, t) for t in range(len(HISTORY))]
    assert len(service.calls[0].body["bars"]) == FIRST
    assert list(result.answers) == list(range(FIRST, len(HISTORY) - 1))
    assert len(result.equity) == len(HISTORY) - FIRST


def test_fills_are_known_by_the_order_that_opened_their_position() -> None:
    service = Service({0: OPEN, 2: CLOSE, 4: OPEN})
    result = follow(service, paper_session(HISTORY, 100_000.0))
    entry, exit_, again, end = (
        fill
        for call in service.calls
        if call.operation.path == "/fills"
        for fill in call.body["fills"]
    )
    open_s = HISTORY.bars.timestamp_s
    assert (entry.fill_id, exit_.fill_id) == ("decision-1-entry", "decision-1-exit")
    assert (entry.side, exit_.side, again.side, end.side) == ("BUY", "SELL", "BUY", "SELL")
    assert (entry.timestamp, exit_.timestamp) == (open_s[FIRST + 1], open_s[FIRST + 3])
    assert (entry.metadata, exit_.metadata) == (OPEN.metadata, None)
    assert entry.commission is UNSET  # the instrument's
    last = result.fills[-1]
    assert last.exit_reason is ExitReason.SESSION_END
    assert HISTORY.sessions.is_last[last.bar]
    assert end.timestamp == open_s[last.bar] + 299  # at the close


def test_an_answer_s_order_is_the_broker_s() -> None:
    assert order_of(None) is None
    opened, closed = order_of(OPEN), order_of(CLOSE)
    assert opened is not None
    assert closed is not None
    assert (opened.side, opened.quantity, opened.stop, opened.target) == (1, 10.0, 1.0, 1e6)
    assert (closed.side, closed.quantity, closed.stop, closed.target) == (-1, 10.0, None, None)
