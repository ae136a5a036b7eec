"""Trade a history with a running service: bars, decisions and fills go through its API.

``paper_session`` describes the calls one after another, whoever makes them; ``follow`` makes them
with a blocking client.

    with DecisionClient(url) as client:
        result = follow(client, paper_session(history, 100_000.0))
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec import UNSET

from rllib_tactical.data.calendar.bar_length import BAR_SECONDS
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.domain.simulation.transition import ExitReason
from rllib_tactical.live.broker import PaperBroker, PaperFill, PaperOrder
from serve.api.responses import DecideAnswer, ExecutionCommand
from serve.api.write_requests import MAX_BARS, BarInput, FillInput
from serve.client import calls
from serve.client.calls import Blocking, Call

_COLUMNS: Final = ("open", "high", "low", "close", "volume")


@dataclass(slots=True)
class PaperResult:
    """What a session did, by bar of the history.

    ``answers`` by the bar at whose close each was given; ``equity`` dollars at the closes of the
    first decision's bar and of all that follow, as the broker has it; ``fills`` in order.
    """

    answers: dict[int, DecideAnswer] = field(default_factory=dict)
    equity: list[float] = field(default_factory=list)
    fills: list[PaperFill] = field(default_factory=list)


PaperSession = Generator[Call[Any], Any, PaperResult]
"""Yields calls, is sent their answers, and returns the result."""


def paper_session(
    history: MarketHistory, initial_equity: float, bar_seconds: int = BAR_SECONDS
) -> PaperSession:
    """Trade a history from its first decision to its last bar but one, by symbol.

    Bars before the first decision are sent in as few requests as possible, all others one by one.
    The fills of a bar are reported before the bar, because they happened during it.

    Args:
        history: the market, with the instrument of the service's bundle.
        initial_equity: dollars of the broker's account, those of the service's rules.
        bar_seconds: length of a bar.
    """
    symbol, first, last = history.instrument.symbol, history.first_decision, len(history) - 1
    broker = PaperBroker(history, initial_equity, first)
    result = PaperResult(equity=[broker.equity])
    for start in range(0, first, MAX_BARS):
        stop = min(start + MAX_BARS, first)
        yield calls.send_bars(symbol, [bar_input(history, t) for t in range(start, stop)])
    entry: ExecutionCommand | None = None
    for t in range(first, last):
        yield calls.send_bars(symbol, [bar_input(history, t)])
        answer: DecideAnswer = yield calls.decide(symbol=symbol)
        result.answers[t] = answer
        command = answer.decision.execution_command
        fills = broker.trade(order_of(command))
        reports = []
        for fill in fills:
            opens = fill.exit_reason is ExitReason.NONE
            entry = command if opens else entry
            reports.append(_report(history, fill, entry, bar_seconds))
        if reports:
            yield calls.send_fills(symbol, reports)
        result.fills += fills
        result.equity.append(broker.equity)
    yield calls.send_bars(symbol, [bar_input(history, last)])
    return result


def follow(client: Blocking, session: PaperSession) -> PaperResult:
    """Make a session's calls with a client and return its result."""
    answer: Any = None
    while True:
        try:
            call = session.send(answer)
        except StopIteration as end:
            result: PaperResult = end.value
            return result
        answer = client.make(call)


def bar_input(history: MarketHistory, t: int) -> BarInput:
    """Return bar ``t`` as it is sent to the service."""
    bars = history.bars
    row = (float(getattr(bars, name)[t]) for name in _COLUMNS)
    return BarInput(int(bars.timestamp_s[t]), *row)


def order_of(command: ExecutionCommand | None) -> PaperOrder | None:
    """Return the order that an answer of the service asks for."""
    if command is None:
        return None
    return PaperOrder(
        side=1 if command.side == "BUY" else -1,
        quantity=command.quantity,
        stop=command.stop_loss,
        target=command.take_profit,
    )


def _report(
    history: MarketHistory, fill: PaperFill, entry: ExecutionCommand | None, bar_seconds: int
) -> FillInput:
    """Return a fill as it is reported; each is known by the order that opened its position."""
    opens = fill.exit_reason is ExitReason.NONE
    known = "unknown" if entry is None else entry.metadata.decision_id
    open_s = int(history.bars.timestamp_s[fill.bar])
    return FillInput(
        fill_id=f"{known}-{'entry' if opens else 'exit'}",
        side="BUY" if fill.side > 0 else "SELL",
        quantity=fill.quantity,
        price=fill.price,
        timestamp=open_s if fill.at_open else open_s + bar_seconds - 1,
        commission=UNSET,
        metadata=entry.metadata if opens and entry is not None else None,
    )
