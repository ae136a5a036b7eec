"""The account over time: bars, fills, sessions in the order in which they count, and once more.

What has counted wrongly (a wrong bar or fill, a bar that came late) is put right in the list
of events, and the events from there on are applied again: the account is as if it had never been
wrong.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

import msgspec

from rllib_tactical.data.calendar.sessions import opens_between
from rllib_tactical.domain.decision.risk import RiskConfig
from rllib_tactical.domain.types import Instrument
from rllib_tactical.errors import ServiceError
from serve.state.bar_streams import ClosedBar
from serve.state.portfolio import Fill, Portfolio, PortfolioState, Trade

KEPT_EVENTS: Final = 20_000
"""Events that can still be put right; older ones only count."""

CHECKPOINT_EVENTS: Final = 256
"""Putting an event right costs the events since the last such point, not all."""


class Filled(msgspec.Struct, tag="fill", frozen=True):
    """The broker filled an order."""

    fill: Fill


class SessionBegan(msgspec.Struct, tag="session", frozen=True):
    """A session began without a bar of it, as older versions had it by the clock."""

    at_s: float


class RulesChosen(msgspec.Struct, tag="rules", frozen=True):
    """A bundle's limits apply; ``live_bars``: bars arrive as they close."""

    risk: RiskConfig
    live_bars: bool


class CashMoved(msgspec.Struct, tag="cash", frozen=True):
    """Money came (``amount`` above zero) or went; ``is_pnl``: it was earned or lost."""

    amount: float
    is_pnl: bool


class Adopted(msgspec.Struct, tag="adopted", frozen=True):
    """The broker's position, in lots, and equity replace what the fills say."""

    position: float
    equity: float | None
    entry_price: float | None


Event = ClosedBar | Filled | SessionBegan | RulesChosen | CashMoved | Adopted


class AccountingState(msgspec.Struct, frozen=True):
    """Where an ``Accounting`` stands.

    ``marked``: epoch time and price of the newest price at which the account was marked, 0 before
    the first; ``bar_s``: open time of the newest bar; ``settled_s``: see ``Accounting``, 0 in
    snapshots of older versions.
    """

    portfolio: PortfolioState
    rules: RulesChosen
    marked: tuple[float, float]
    bar_s: int | None
    settled_s: float = 0.0


class Accounting:
    """The account of one instrument, moved on by one event after the other.

    The account is marked at the close of every bar, as in a backtest. While no bars arrive (there
    is none yet, or the next is overdue by more than its length), fills mark the account. A price
    older than the newest one never marks.

    Only a session's first bar lifts a halt, and no clock begins a session. Without a halt a fill
    does where it marks, so that what is lost before the first bar is lost in the new session.
    ``settled_s`` is the time up to which sessions have begun: the end of the newest bar, or a later
    fill that began one or came before the first bar.

    In a replay of old bars their times cannot be compared with those of fills: from the first bar
    on only bars mark the account.
    """

    def __init__(self, instrument: Instrument, bar_seconds: int, rules: RulesChosen) -> None:
        self._instrument, self._bar_seconds = instrument, bar_seconds
        self.portfolio = Portfolio(instrument, rules.risk)
        self.rules = rules
        self.marked_s, self._price = 0.0, 0.0
        self.settled_s = 0.0
        self.bar_s: int | None = None

    def state(self) -> AccountingState:
        """Return what ``go_back`` needs to be here again."""
        return AccountingState(
            self.portfolio.state(),
            self.rules,
            (self.marked_s, self._price),
            self.bar_s,
            self.settled_s,
        )

    def go_back(self, state: AccountingState) -> None:
        """Be where ``state`` was taken."""
        self.portfolio.go_back(state.portfolio)
        self.rules, self.portfolio.risk = state.rules, state.rules.risk
        self.marked_s, self._price = state.marked
        self.bar_s = state.bar_s
        newest_s = self.marked_s if self.bar_s is None else self._end_of(self.bar_s)
        self.settled_s = state.settled_s or newest_s

    def apply(self, event: Event) -> None:
        """Move on by one event."""
        if isinstance(event, ClosedBar):
            self._close(event)
        elif isinstance(event, Filled):
            self.portfolio.apply(event.fill)
            if not self._bars_mark(event.fill.time_s):
                self._fill_marks(event.fill)
        elif isinstance(event, SessionBegan):
            self.portfolio.mark(self._price, True)
        elif isinstance(event, CashMoved):
            self._move(event)
        elif isinstance(event, Adopted):
            self._adopt(event)
        else:
            self.rules, self.portfolio.risk = event, event.risk

    @property
    def price(self) -> float:
        """The newest price at which the account was marked, 0 before the first."""
        return self._price

    def _move(self, moved: CashMoved) -> None:
        if moved.is_pnl:
            self.portfolio.charge(moved.amount)
            self.portfolio.mark(self._price, False)
        else:
            self.portfolio.transfer(moved.amount)

    def _adopt(self, adopted: Adopted) -> None:
        if not self.portfolio.is_position(adopted.position):
            entry = adopted.entry_price or self._price
            self.portfolio.adopt(adopted.position, entry, self._price or entry)
        if adopted.equity is not None:
            # what nobody can explain was earned or lost: the drawdown counts it
            self.portfolio.charge(adopted.equity - self.portfolio.account.equity)
        self.portfolio.mark(self._price or adopted.entry_price or 0.0, False)

    @property
    def _patience_s(self) -> int:
        """How long to wait for a bar after its open: its length, and as long again."""
        return 2 * self._bar_seconds

    def _bars_mark(self, time_s: float) -> bool:
        """Return whether bars, and not fills, mark the account at ``time_s``."""
        if self.bar_s is None or not self.rules.live_bars:
            return self.bar_s is not None
        return time_s <= self.bar_s + self._bar_seconds + self._patience_s

    def _fill_marks(self, fill: Fill) -> None:
        halted = self.portfolio.account.halted
        begins = not halted and self._begins_session(self.settled_s, fill.time_s)
        self._mark(fill.time_s, fill.price, begins)
        if begins or self.bar_s is None:
            self.settled_s = self.marked_s

    def _close(self, bar: ClosedBar) -> None:
        end_s, live = self._end_of(bar.time_s), self.rules.live_bars
        begins = bar.new_session
        if live and self.settled_s != self._end_of(self.bar_s):
            begins = self._begins_session(self.settled_s, end_s)
        if not live:  # older than a fill's time as it may be, in a replay the bar is the clock
            self.marked_s = self.settled_s = 0.0
        self._mark(end_s, bar.close, begins)
        self.settled_s = max(self.settled_s, end_s)
        self.bar_s = bar.time_s

    def _end_of(self, bar_s: int | None) -> float:
        """Return the last second of the bar that opens at ``bar_s``; 0 without a bar."""
        return 0.0 if bar_s is None else float(bar_s + self._bar_seconds - 1)

    def _mark(self, time_s: float, price: float, new_session: bool) -> None:
        """Mark the account at a price, or at the newest one where that is newer."""
        if time_s >= self.marked_s:
            self.marked_s, self._price = time_s, price
        self.portfolio.mark(self._price, new_session)

    def _begins_session(self, before_s: float, now_s: float) -> bool:
        """Return whether a session opened after ``before_s`` (0: no time yet), up to ``now_s``.

        Beyond the calendar's range no session begins: drawdown and halt of the old one remain.
        """
        before, now = int(before_s), int(now_s)
        return 0 < before < now and opens_between(before, now, self._instrument)


class LedgerImage(msgspec.Struct, frozen=True):
    """Everything that a ``Ledger`` holds, for snapshots; ``base`` is what was before the events."""

    base: AccountingState
    now: AccountingState
    trades: list[Trade]
    events: list[Event]
    amended: int


class Ledger:
    """The account, and the newest events that have made it.

    ``amended`` counts how often events were put right.
    """

    def __init__(self, instrument: Instrument, bar_seconds: int, rules: RulesChosen) -> None:
        self._base, self.now = (Accounting(instrument, bar_seconds, rules) for _ in range(2))
        self._events: list[Event] = []
        self._dropped = 0
        self._checkpoints: deque[tuple[int, AccountingState]] = deque(
            maxlen=KEPT_EVENTS // CHECKPOINT_EVENTS
        )
        self.amended = 0

    def image(self) -> LedgerImage:
        """Return what ``resume`` needs to go on from here."""
        trades = self.now.portfolio.trades
        return LedgerImage(self._base.state(), self.now.state(), trades, self._events, self.amended)

    def resume(self, image: LedgerImage) -> None:
        """Go on from where ``image`` was made."""
        for accounting, state in ((self._base, image.base), (self.now, image.now)):
            accounting.portfolio.trades[:] = image.trades
            accounting.go_back(state)
        self._events, self._dropped, self.amended = image.events, 0, image.amended
        self._checkpoints.clear()

    def apply(self, event: Event) -> None:
        """Move on by one event."""
        self._events.append(event)
        self._step(event, self._dropped + len(self._events))
        while len(self._events) > KEPT_EVENTS:
            self._base.apply(self._events.pop(0))
            self._dropped += 1

    def close(self, bars: Sequence[ClosedBar]) -> None:
        """Move on by bars, oldest first; those up to the newest one are put right or inserted."""
        last_s = self.now.bar_s
        known = [bar for bar in bars if last_s is not None and bar.time_s <= last_s]
        if known:
            self._replace(self._with_bars(known))
        for bar in bars[len(known) :]:
            self.apply(bar)

    def holds(self, fill_id: str) -> bool:
        """Return whether a fill counts and can be put right."""
        return self._place_of(fill_id) is not None

    def correct(self, fill_id: str, fill: Fill | None) -> None:
        """Put ``fill`` in the place of another one, or none, as if the other had never been."""
        place = self._place_of(fill_id)
        if place is None:
            raise ServiceError(f"fill {fill_id} must be among the newest events, found it nowhere")
        again = [] if fill is None else [Filled(fill)]
        self._replace([*self._events[:place], *again, *self._events[place + 1 :]])

    def _place_of(self, fill_id: str) -> int | None:
        for place, event in enumerate(self._events):
            if isinstance(event, Filled) and event.fill.fill_id == fill_id:
                return place
        return None

    def _with_bars(self, bars: Sequence[ClosedBar]) -> list[Event]:
        base_s = self._base.bar_s
        pending = deque(bar for bar in bars if base_s is None or bar.time_s > base_s)
        events: list[Event] = []
        for event in self._events:
            if isinstance(event, ClosedBar):
                # a late bar takes its place right before the bar that follows it
                while pending and pending[0].time_s < event.time_s:
                    events.append(pending.popleft())
                if pending and pending[0].time_s == event.time_s:
                    event = pending.popleft()
            events.append(event)
        return events

    def _replace(self, events: list[Event]) -> None:
        """Put other events in the place of those that are kept, and apply what differs again."""
        pairs = enumerate(zip(self._events, events, strict=False))
        shorter = min(len(self._events), len(events))
        first = self._dropped + next((i for i, (old, new) in pairs if old != new), shorter)
        while self._checkpoints and self._checkpoints[-1][0] > first:
            self._checkpoints.pop()
        start, state = self._dropped, self._base.state()
        if self._checkpoints and self._checkpoints[-1][0] > start:
            start, state = self._checkpoints[-1]
        again = events[start - self._dropped :]
        self._events = events
        self.now.go_back(state)
        for number, event in enumerate(again, start=start + 1):
            self._step(event, number)
        self.amended += 1

    def _step(self, event: Event, number: int) -> None:
        self.now.apply(event)
        if number % CHECKPOINT_EVENTS == 0:
            self._checkpoints.append((number, self.now.state()))
