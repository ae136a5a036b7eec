"""Which calls a paper session makes; ``test_parity_over_http`` makes them of a service."""

from __future__ import annotations

from dataclasses import replace as replace_field
from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from rllib_tactical.domain.simulation.transition import ExitReason
from rllib_tactical.errors import ServiceError
from rllib_tactical.live.market import WholeMarket
from rllib_tactical.live.paper import PaperResult, PaperSession, bar_input, follow, paper_session
from serve.api import operations
from serve.api.responses import (
    AccountAnswer,
    AgentBreakdown,
    AgentVote,
    BarsAnswer,
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


def bars_answer(bars: int) -> BarsAnswer:
    return BarsAnswer("TEST", 1, 0, 0, 0, [], 0, bars, True, False, 1)


class Service:
    """Gives orders at chosen decisions, and remembers the calls."""

    def __init__(self, orders: dict[int, ExecutionCommand]) -> None:
        self.calls: list[Call[Any]] = []
        self._orders, self._decided = orders, 0
        self.bars = 0

    def make(self, call: Call[Any]) -> Any:
        self.calls.append(call)
        if call.operation is operations.BARS:
            self.bars += len(call.body["bars"])
            return bars_answer(self.bars)
        if call.operation is not operations.DECIDE:
            return None
        self._decided += 1
        return answer(self._orders.get(self._decided - 1))


def test_bars_decisions_and_fills_come_in_the_order_of_the_market() -> None:
    service = Service({0: OPEN, 2: CLOSE})
    result = follow(service, paper_session(HISTORY, 100_000.0))
    paths = [call.operation.path for call in service.calls]
    assert paths[:8] == [
        "/bars", "/decide", "/fills", "/bars", "/decide", "/bars", "/decide", "/fills",
    ]  # fmt: skip
    assert paths[-2:] == ["/decide", "/bars"]  # nothing is decided on the last bar
    sent = [
        b for call in service.calls if call.operation.path == "/bars" for b in call.body["bars"]
    ]
    assert sent == [bar_input(HISTORY, t) for t in range(len(HISTORY))]
    assert len(service.calls[0].body["bars"]) == FIRST + 1
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


@pytest.mark.slow
def test_a_closing_order_closes_and_an_opening_one_has_its_bracket() -> None:
    service = Service({0: OPEN, 2: CLOSE})
    result = follow(service, paper_session(HISTORY, 100_000.0))
    opened, closed = result.fills
    assert (opened.side, opened.quantity, opened.exit_reason) == (1, 10.0, ExitReason.NONE)
    assert (closed.side, closed.quantity, closed.exit_reason) == (-1, 10.0, ExitReason.OPPOSITE)
    tight = command(1, "BUY", 1e9, 2e9)  # a stop above the price: gone on the bar of its fill
    result = follow(Service({0: tight}), paper_session(HISTORY, 100_000.0))
    assert [fill.exit_reason for fill in result.fills] == [ExitReason.NONE, ExitReason.STOP]


def session(service: Service, **changes: Any) -> PaperResult:
    market = WholeMarket(HISTORY, FIRST + 8)
    return follow(service, PaperSession(market=market, initial_equity=100_000.0, **changes).calls())


def test_a_service_that_remembers_is_told_what_it_may_have_missed_and_no_more() -> None:
    whole = session(Service({0: OPEN, 3: CLOSE}))
    known = {t: whole.answers[t] for t in range(FIRST, FIRST + 4)}
    service = Service({})
    service.bars = FIRST + 4
    recorded: list[int] = []
    again = session(service, known=known, record=lambda t, answer: recorded.append(t))
    # the fill of the last known decision may not have arrived, what was before it has
    (fill,) = (f for call in service.calls[:1] for f in call.body["fills"])
    assert fill.fill_id == "decision-1-exit"
    assert [c.operation.path for c in service.calls[1:3]] == ["/bars", "/decide"]
    assert service.calls[1].body["bars"] == [bar_input(HISTORY, FIRST + 4)]
    assert recorded == [FIRST + 4, FIRST + 5, FIRST + 6]
    assert (again.fills, again.equity) == (whole.fills, whole.equity)


def test_a_service_that_has_forgotten_is_told_everything_again_but_asked_nothing_twice() -> None:
    whole = session(Service({0: OPEN, 3: CLOSE}))
    known = {t: whole.answers[t] for t in range(FIRST, FIRST + 4)}
    service = Service({})
    again = session(service, known=known, remembers=False)
    sent = [b for c in service.calls if c.operation.path == "/bars" for b in c.body["bars"]]
    assert sent == [bar_input(HISTORY, t) for t in range(FIRST + 8)]
    paths = [call.operation.path for call in service.calls]
    assert paths[:5] == ["/bars", "/fills", "/bars", "/fills", "/bars"]
    assert paths.count("/decide") == 3
    assert (again.fills, again.equity) == (whole.fills, whole.equity)


def test_a_service_with_other_bars_or_money_is_refused() -> None:
    service = Service({})
    service.bars = 1
    with pytest.raises(ServiceError, match="360 bars and no others, found 361: start it with"):
        session(service)

    class Traded(Service):
        def make(self, call: Call[Any]) -> Any:
            if call.operation is not operations.ACCOUNT:
                return super().make(call)
            return AccountAnswer("TEST", False, 2.0, 90_000.0, -2.0, 0.0, False, False, 1)

    with pytest.raises(ServiceError, match=r"flat with \$100,000.00, found 2 lots and \$90,000.00"):
        session(Traded({}), reconciles=True)


def test_bars_that_are_too_old_for_a_live_service_are_an_error_of_a_replay_only() -> None:
    class Live(Service):
        def make(self, call: Call[Any]) -> Any:
            given = super().make(call)
            if call.operation is not operations.DECIDE:
                return given
            part = replace(given.decision, reason=ReasonCode("data_stale"))
            return replace(given, decision=part)

    with pytest.raises(ServiceError, match=r"start it with service\.live_bars: false"):
        session(Live({}))
    assert len(session(Live({}), is_replay=False).answers) == 7


def test_what_a_position_pays_for_its_holding_is_reported_once() -> None:
    instrument = replace_field(HISTORY.instrument, funding_rate=0.001, funding_hours=1)
    history = replace_field(HISTORY, instrument=instrument)
    service = Service({0: OPEN})
    market = WholeMarket(history, FIRST + 30)
    paid = follow(service, PaperSession(market=market, initial_equity=100_000.0).calls())
    moves = [call.body for call in service.calls if call.operation is operations.ACCOUNT]
    assert 2 <= len(moves) <= 3  # 30 bars are two and a half hours
    open_s, bars = history.bars.timestamp_s, history.bars
    for move in moves:
        at = int(move["request_id"].rpartition("-")[2])
        t = open_s.tolist().index(at)
        assert at % 3600 == 0
        expected = -10.0 * bars.open[t] * instrument.point_value * 0.001
        (cash,) = move["cash"]
        assert (cash.kind, cash.amount) == ("funding", pytest.approx(expected))
    assert len(paid.fills) == 1
