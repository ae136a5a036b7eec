"""Trade with the service: bars, decisions and fills go through its API.

``PaperSession.calls`` describes the calls one after another, whoever makes them; ``follow`` makes
them with a blocking client, or with the service in this process.

    with DecisionClient(url) as client:
        result = follow(client, paper_session(history, 100_000.0))
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from rllib_tactical.data.calendar.bar_length import BAR_SECONDS
from rllib_tactical.domain.decision.orders import requested_quantity
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.simulation.transition import ExitReason
from rllib_tactical.errors import ServiceError
from rllib_tactical.live.broker import PaperBroker, PaperFill, PaperOrder
from rllib_tactical.live.market import Market, WholeMarket
from serve.api.responses import (
    AccountAnswer,
    BarsAnswer,
    DecideAnswer,
    ExecutionCommand,
    ReasonCode,
)
from serve.api.write_requests import MAX_BARS, BarInput, BrokerAccount, CashMove, FillInput
from serve.client import calls
from serve.client.calls import Blocking, Call

_COLUMNS: Final = ("open", "high", "low", "close", "volume")

Calls = Generator[Call[Any], Any, "PaperResult"]
"""Yields calls, is sent their answers, and returns the result."""


@dataclass(slots=True)
class PaperResult:
    """What a session did, by bar of the history.

    ``answers`` by the bar at whose close each was given; ``equity`` dollars at the closes of the
    first decision's bar and of all that follow, as the broker has it; ``fills`` in order;
    ``reports`` what the broker did on each bar, as a backtest records it; ``history`` the bars.
    """

    history: MarketHistory
    answers: dict[int, DecideAnswer] = field(default_factory=dict)
    equity: list[float] = field(default_factory=list)
    fills: list[PaperFill] = field(default_factory=list)
    reports: list[dict[str, NDArray[Any]]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperSession:
    """A session from its first decision to the market's last bar but one, by symbol.

    Bars before the first decision are sent in as few requests as possible, all others one by one.
    The fills of a bar are reported before the bar, because they happened during it.

    Attributes:
        market: the bars, with the instrument of the service's bundle.
        initial_equity: dollars of the broker's account, those of the service's rules.
        first: the bar of the first decision; the history's first possible one when None.
        rules: of the bundle; they say what an order asked for before the risk limits.
        rewards: weights of the rewards that are recorded.
        bar_seconds: length of a bar.
        known: answers of the session before it was interrupted, by bar.
        remembers: whether the service still has all that it was sent before the interruption.
        reconciles: whether the service is asked at the start if its account is the broker's.
        is_replay: whether the bars are old: then a service that holds because of that is an error.
        record: told of each new answer before anything is done that follows from it.
    """

    market: Market
    initial_equity: float
    first: int | None = None
    rules: Rules = field(default_factory=Rules)
    rewards: RewardConfig | None = None
    bar_seconds: int = BAR_SECONDS
    known: Mapping[int, DecideAnswer] = field(default_factory=dict)
    remembers: bool = True
    reconciles: bool = False
    is_replay: bool = True
    record: Callable[[int, DecideAnswer], None] = lambda t, answer: None

    def calls(self) -> Calls:
        """Return the calls to make, in order.

        Raises:
            ServiceError: the service has other bars than those of the session, or holds because
                they are old.
        """
        market, history = self.market, self.market.history
        t = history.first_decision if self.first is None else self.first
        broker = PaperBroker(history, self.initial_equity, t, self.rewards)
        result = PaperResult(history, equity=[broker.equity])
        # of these bars, and of the fills before them, the service has been told
        told = max(self.known, default=-1) if self.remembers else -1
        unsent = list(range(t))
        entry: ExecutionCommand | None = None
        while not market.ends_at(t):
            unsent.append(t)
            if t <= told:
                unsent.clear()
            known = self.known.get(t)
            if known is None:
                yield from self._send(market.history, unsent)
                if self.reconciles and not (self.known or result.answers):
                    yield from self._reconcile(broker)
                known = yield calls.decide(symbol=history.instrument.symbol)
                if self.is_replay:
                    _require_fresh(known)
                self.record(t, known)
            if not market.has(t + 1):
                break
            fills, command = [], known.decision.execution_command
            if market.history is not broker.history:
                fills += broker.extend(market.history)
            fills += broker.trade(self._order(known))
            result.answers[t] = known
            reports = []
            for fill in fills:
                opens = fill.exit_reason is ExitReason.NONE
                entry = command if opens else entry
                reports.append(_report(broker.history, fill, entry, self.bar_seconds))
            if t >= told and (reports or broker.funding):
                yield from self._send(market.history, unsent)
                if broker.funding:
                    yield self._funding(broker)
                if reports:
                    yield calls.send_fills(history.instrument.symbol, reports)
            result.fills += fills
            result.equity.append(broker.equity)
            t += 1
        else:  # nothing is decided on the last bar
            if t > told:
                unsent.append(t)
        yield from self._send(market.history, unsent)
        result.history, result.reports = market.history, broker.reports
        return result

    def _send(
        self, history: MarketHistory, unsent: list[int]
    ) -> Generator[Call[BarsAnswer], BarsAnswer, None]:
        """Send bars in as few requests as possible, and forget them."""
        while unsent:
            part = unsent[:MAX_BARS]
            bars = [bar_input(history, t) for t in part]
            answer = yield calls.send_bars(history.instrument.symbol, bars)
            if answer.bars != part[-1] + 1:
                raise ServiceError(
                    f"the service must have the session's {part[-1] + 1:,} bars and no others, "
                    f"found {answer.bars:,}: start it with a new --state, and without --bus"
                )
            del unsent[: len(part)]

    def _reconcile(
        self, broker: PaperBroker
    ) -> Generator[Call[AccountAnswer], AccountAnswer, None]:
        """Refuse a service that has traded before: its limits would not be those of the session."""
        own = BrokerAccount(position=broker.position, equity=broker.equity)
        answer = yield calls.account(
            broker.history.instrument.symbol,
            by="paper broker",
            note="a paper session begins",
            broker=own,
        )
        if answer.position_difference or answer.equity_difference:
            raise ServiceError(
                f"the service must be flat with ${broker.equity:,.2f}, found {answer.position:g} "
                f"lots and ${answer.equity:,.2f}: start it with a new --state"
            )

    def _order(self, answer: DecideAnswer) -> PaperOrder | None:
        """Return the order that an answer of the service asks for."""
        command = answer.decision.execution_command
        if command is None:
            return None
        opens = command.stop_loss is not None
        return PaperOrder(
            side=1 if command.side == "BUY" else -1,
            quantity=command.quantity,
            stop=command.stop_loss,
            target=command.take_profit,
            requested=self._requested(answer) if opens else None,
        )

    def _requested(self, answer: DecideAnswer) -> float:
        aggressive = answer.agent_breakdown.entry.label == "aggressive"
        lots = requested_quantity(
            np.array([answer.decision.confidence]),
            np.array([aggressive]),
            self.market.history.instrument,
            self.rules.orders,
        )
        return float(lots[0])

    def _funding(self, broker: PaperBroker) -> Call[Any]:
        """Return the report of what the position has paid for its holding."""
        symbol, open_s = broker.history.instrument.symbol, _open_s(broker.history, broker.t)
        return calls.account(
            symbol,
            by="paper broker",
            note="funding",
            cash=[CashMove("funding", -broker.funding)],
            request_id=f"funding-{symbol}-{open_s}",
        )


def paper_session(
    history: MarketHistory, initial_equity: float, bar_seconds: int = BAR_SECONDS
) -> Calls:
    """Return the calls of a session on a whole history, see ``PaperSession``."""
    market = WholeMarket(history)
    session = PaperSession(market=market, initial_equity=initial_equity, bar_seconds=bar_seconds)
    return session.calls()


def follow(client: Blocking, session: Calls) -> PaperResult:
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
    return BarInput(_open_s(history, t), *(getattr(bars, name).item(t) for name in _COLUMNS))


def _open_s(history: MarketHistory, t: int) -> int:
    return int(history.bars.timestamp_s[t])


def _require_fresh(answer: DecideAnswer) -> None:
    if answer.decision.reason is ReasonCode("data_stale"):
        raise ServiceError(
            "the service holds because these bars are old (data_stale): to replay bars, start it "
            "with service.live_bars: false in --config"
        )


def _report(
    history: MarketHistory, fill: PaperFill, entry: ExecutionCommand | None, bar_seconds: int
) -> FillInput:
    """Return a fill as it is reported; each is known by the order that opened its position."""
    opens = fill.exit_reason is ExitReason.NONE
    known = "unknown" if entry is None else entry.metadata.decision_id
    open_s = _open_s(history, fill.bar)
    return FillInput(
        fill_id=f"{known}-{'entry' if opens else 'exit'}",
        side="BUY" if fill.side > 0 else "SELL",
        quantity=fill.quantity,
        price=fill.price,
        timestamp=open_s if fill.at_open else open_s + bar_seconds - 1,
        commission=UNSET,
        metadata=entry.metadata if opens and entry is not None else None,
    )
