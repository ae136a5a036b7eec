"""Stretches of bars that are stepped side by side and join into one account, bit for bit.

What an account does depends on its state alone, so bars can be cut into lanes and all lanes stepped
at once, each from a guess of the state in which it begins. A lane whose guess was not, to the last
bit, the state in which its predecessor ended is stepped again from that state. A wrong guess is
forgotten soon: a position ends at its stop, and money on one grid of floating point numbers is
added alike from wherever it begins.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.simulation.simulator import Simulator
from rllib_tactical.domain.types import AnyArray, BoolArray, IntArray

States = dict[str, AnyArray]
"""States of accounts, arrays (L,) by name, as ``Simulator.state`` returns them."""

LANE_BARS: Final = 128
"""Length of the lanes into which a session is cut that is longer than four of them."""

LOOK_AHEAD: Final = 128  # lanes that are stepped side by side when guesses have failed

_MONEY: Final = ("cash", "equity", "session_peak")
_OF_A_TRADE: Final = (
    "entry_price",
    "entry_t",
    "stop",
    "target",
    "entry_cash",
    "trade_cost",
    "after_mitigation",
    "counter_trend",
)


class Lanes:
    """L stretches of the bars start .. stop - 1, each from the close of a bar to that of another.

    ``start`` and ``stop`` (L,): the bars at whose closes a lane begins and ends; ``stop[k]`` is
    ``start[k + 1]``. ``passes`` counts how often lanes were handed out.
    """

    def __init__(
        self,
        history: MarketHistory,
        rules: Rules,
        rewards: RewardConfig,
        start: int,
        stop: int,
        cost_factor: float = 1.0,
    ) -> None:
        self._context = (history, rules, rewards)
        edges = _edges(history, start, stop)
        self.start, self.stop = edges[:-1], edges[1:]
        firsts = np.cumsum(history.sessions.is_first[start:stop])
        self._new_session = firsts[self.stop - start] > firsts[self.start - start]
        fresh = Simulator(history, rules, rewards, len(self))
        fresh.reset(np.arange(len(self)), self.start, None, cost_factor)
        self._opening, self._closing = _canonical(fresh.state()), fresh.state()
        self._tried = {name: values.copy() for name, values in self._opening.items()}
        self._untried = np.ones(len(self), dtype=np.bool_)
        self._settled = self.passes = 0

    def __len__(self) -> int:
        return len(self.start)

    def next(self) -> IntArray:
        """Return the lanes (K,) to step in the next pass; none when all of them join."""
        if self.passes:
            self._open_again()
        todo = self._untried.nonzero()[0]
        if len(todo) and self.passes > 1:
            # where size follows equity guesses fail soon: do not run far ahead of what is settled
            gained, self._settled = int(todo[0]) - self._settled, int(todo[0])
            todo = todo[: max(LOOK_AHEAD, 4 * gained)]
        self.passes += bool(len(todo))
        return todo

    def simulator(self, todo: IntArray) -> Simulator:
        """Return a simulator whose accounts begin the lanes ``todo`` (K,)."""
        simulator = Simulator(*self._context, len(todo))
        simulator.set_state({name: values[todo] for name, values in self._opening.items()})
        for name, values in self._opening.items():
            self._tried[name][todo] = values[todo]
        self._untried[todo] = False
        return simulator

    def finish(self, simulator: Simulator, todo: IntArray, done: BoolArray) -> None:
        """Keep the states of those accounts ``done`` (K,) that are at the end of their lanes."""
        lanes = todo[done]
        for name, values in _canonical(simulator.state()).items():
            self._closing[name][lanes] = values[done]

    def _open_again(self) -> None:
        """Carry states from lane to lane, and mark the lanes whose opening was not tried yet."""
        names = tuple(self._opening)
        opening, tried, closing = (
            list(zip(*(states[name].tolist() for name in names), strict=True))
            for states in (self._opening, self._tried, self._closing)
        )
        new_session = self._new_session.tolist()
        carry = _carry(names)
        for lane in range(1, len(opening)):
            before = lane - 1
            opening[lane] = (
                closing[before]
                if opening[before] == tried[before]
                else carry(opening[before], tried[before], closing[before], new_session[before])
            )
        for name, values in zip(names, zip(*opening, strict=True), strict=True):
            self._opening[name] = np.array(values, dtype=self._opening[name].dtype)
        self._untried = np.logical_or.reduce([self._opening[n] != self._tried[n] for n in names])


_State = tuple[float, ...]


def _carry(names: tuple[str, ...]) -> Callable[[_State, _State, _State, bool], _State]:
    """Return a function that guesses where a lane ends that was tried from another opening.

    Its gains are assumed to stay what they were. A halt lasts to the session's end.
    """
    cash, peak = names.index("cash"), names.index("session_peak")
    halted, t, side = names.index("halted"), names.index("t"), names.index("side")
    entry_cash = names.index("entry_cash")
    money = [names.index(name) for name in _MONEY]

    def carry(opening: _State, tried: _State, closing: _State, new_session: bool) -> _State:
        if opening[halted] and not new_session:
            return (*opening[:t], closing[t], *opening[t + 1 :])
        guess, gained = list(closing), opening[cash] - tried[cash]
        for name in money:
            guess[name] += gained
        if closing[side]:
            guess[entry_cash] += gained
        if not new_session:
            guess[peak] = max(guess[peak], opening[peak])
        return tuple(guess)

    return carry


def _canonical(states: States) -> States:
    """Return the states with nothing left of a trade that has ended; changes ``states``."""
    flat = states["side"] == 0
    for name in _OF_A_TRADE:
        states[name][flat] = 0
    return states


def _edges(history: MarketHistory, start: int, stop: int) -> IntArray:
    """Return the bars where lanes begin and end: sessions' first bars, and cuts in long sessions.

    No order reaches a session's first bar, so a lane that begins there begins flat.
    """
    inner = np.arange(start + 1, stop - 1)
    cuts = inner[history.sessions.is_first[inner]]
    edges = np.concatenate([[start], cuts, [stop - 1]]).astype(np.int64)
    long = (np.diff(edges) > 4 * LANE_BARS).nonzero()[0]
    more = [np.arange(edges[k] + LANE_BARS, edges[k + 1], LANE_BARS) for k in long]
    return np.sort(np.concatenate([edges, *more]))
