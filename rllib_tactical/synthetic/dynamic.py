"""The oracle of markets that are made from parameters: dynamic programming under the trading rules.

It knows the parameters, not the bars. On a reference market of the same parameters and another seed
the simulator says what a trade on either side of every bar brings and how long it takes, stop,
target, costs and session's end included. The bars of that market are sorted into states by what has
been seen by then: which signal came last, how long ago, and whether the price has gone with it or
against it since. The policy that earns most per bar then follows from policy iteration for a
semi-Markov decision process: in each state wait, trade with the signal, or trade against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.votes import Votes
from rllib_tactical.domain.simulation.history import MarketHistory, Split
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.simulation.what_if import what_if
from rllib_tactical.domain.types import BoolArray, FloatArray, IntArray
from rllib_tactical.synthetic.generate import SyntheticMarket, make_from_parameters
from rllib_tactical.synthetic.oracle import gap_oracle, momentum_oracle, oracle_votes, side_votes
from rllib_tactical.synthetic.parameters import MarketParameters

REFERENCE_SEED: Final = 77_000
REFERENCE_BARS: Final = 600_000
AGES: Final = 12
"""Bars after which a signal is forgotten: none waits longer for its jump."""
MOVED: Final = 1.5
"""ATR from which the price counts as gone with or against the signal."""
STATES: Final = 1 + 2 * AGES * 3
WAIT, WITH, AGAINST = 0, 1, 2
FEW: Final = 30
"""A state with fewer bars of the reference market is not traded in."""


def signal_states(history: MarketHistory) -> tuple[IntArray, IntArray]:
    """Return state and side (T,) of the last signal at every bar; 0 and 0 where there is none.

    State 1 + 3 (12 family + age) + moved, where family is 0 for gaps and 1 for momentum, age in
    bars, and moved 0 (no), 1 (with the signal) or 2 (against it).
    """
    raw, close, atr = history.features.raw, history.features.close, history.features.atr
    gap = gap_oracle(raw, close)
    side = np.where(gap != 0, gap, momentum_oracle(raw, close))
    bar = np.arange(len(close))
    last = np.maximum.accumulate(np.where(side != 0, bar, -1))
    age = bar - last
    known = (last >= 0) & (age < AGES)
    last = np.where(known, last, bar)
    side = np.where(known, side[last], 0)
    moved = side * (close - close[last]) / np.maximum(atr[last], 1e-12)
    kind = np.where(moved >= MOVED, 1, np.where(moved <= -MOVED, 2, 0))
    family = (gap[last] == 0).astype(np.int64)
    return np.where(known, 1 + 3 * (AGES * family + age) + kind, 0), side


@dataclass(frozen=True, slots=True)
class Plan:
    """The best policy. ``action`` (S,): WAIT, WITH or AGAINST; ``gain`` dollars per bar."""

    action: IntArray
    gain: float


@dataclass(frozen=True, slots=True)
class _Process:
    """What each action in each state leads to, arrays (3 actions, S states, ...).

    ``reward`` dollars, ``careful`` dollars less two standard errors, ``bars`` until the next
    decision, ``follows`` probabilities of the next state, ``known``: seen often enough.
    """

    reward: FloatArray
    careful: FloatArray
    bars: FloatArray
    follows: FloatArray
    known: BoolArray


@lru_cache(maxsize=64)
def best_plan(
    parameters: MarketParameters, price: float = 0.0, reference_bars: int | None = None
) -> Plan:
    """Return the policy that earns most per bar at equal size on markets of these parameters.

    Args:
        parameters: of the market.
        price: dollars that each bar of a trade costs, because it keeps others from trading.
        reference_bars: length of the reference market, ``REFERENCE_BARS`` when None.
    """
    process = _process(parameters, reference_bars or REFERENCE_BARS)
    paid = price * process.bars * (np.arange(3) != WAIT)[:, None]
    return _solve(
        process.reward - paid,
        process.careful - paid,
        process.bars,
        process.follows.copy(),
        process.known,
    )


@lru_cache(maxsize=16)
def _process(parameters: MarketParameters, reference_bars: int) -> _Process:
    """Count what happens on the reference market of these parameters."""
    market = make_from_parameters(parameters, REFERENCE_SEED, reference_bars)
    history = market.history()
    whole = Split("train", 0, len(history))
    table = what_if(history, whole, Rules(), RewardConfig(), 1.0, 1.0)
    state, side = signal_states(history)
    bar = np.arange(table.start, table.stop)
    count = np.zeros((3, STATES))
    reward, error, bars = np.zeros((3, STATES)), np.zeros((3, STATES)), np.ones((3, STATES))
    follows = np.zeros((3, STATES, STATES))
    for action in (WAIT, WITH, AGAINST):
        if action == WAIT:
            taken, row, pnl, steps = bar, bar - table.start, np.zeros(len(bar)), np.ones(len(bar))
        else:
            chosen = side[bar] if action == WITH else -side[bar]
            column = (chosen < 0).astype(np.int64)
            row = np.flatnonzero((chosen != 0) & table.opened[np.arange(len(bar)), column])
            taken, column = bar[row], column[row]
            pnl, steps = table.pnl[row, column], table.bars[row, column].astype(np.float64)
        before = state[taken]
        after = state[np.minimum(taken + steps.astype(np.int64), len(state) - 1)]
        count[action] = np.bincount(before, minlength=STATES)
        total = np.maximum(count[action], 1.0)
        reward[action] = np.bincount(before, pnl, STATES) / total
        square = np.bincount(before, pnl**2, STATES) / total - reward[action] ** 2
        error[action] = np.sqrt(np.maximum(square, 0.0) / total)
        bars[action] = np.maximum(np.bincount(before, steps, STATES) / total, 1.0)
        np.add.at(follows[action], (before, after), 1.0)
        follows[action] /= total[:, None]
    # what looks better by less than twice its error is left alone
    return _Process(reward, reward - 2.0 * error, bars, follows, count >= FEW)


def _solve(
    reward: FloatArray,
    careful: FloatArray,
    bars: FloatArray,
    follows: FloatArray,
    known: BoolArray,
) -> Plan:
    """Iterate policies until none is better; see the head of the module. Arrays (3, S, ...)."""
    states = np.arange(STATES)
    unseen = follows[WAIT].sum(axis=1) == 0.0
    follows[WAIT, unseen, 0] = 1.0
    action = np.zeros(STATES, dtype=np.int64)
    gain = 0.0
    for _ in range(100):
        system = np.zeros((STATES + 1, STATES + 1))
        system[:STATES, :STATES] = np.eye(STATES) - follows[action, states]
        system[:STATES, STATES] = bars[action, states]
        system[STATES, 0] = 1.0
        solved = np.linalg.solve(system, np.append(reward[action, states], 0.0))
        value, gain = solved[:STATES], float(solved[STATES])
        worth = careful - gain * bars + follows @ value
        worth[WITH:][~known[WITH:]] = -np.inf
        better = worth.argmax(axis=0)
        improved = worth[better, states] > worth[action, states] + 1e-9
        if not improved.any():
            break
        action = np.where(improved, better, action)
    return Plan(action, gain)


def market_oracle(market: SyntheticMarket, history: MarketHistory) -> Votes:
    """Return the votes (T, 3) of a synthetic market's oracle, all of confidence 1.

    Args:
        market: whose oracle trades.
        history: of its bars.
    """
    if market.parameters is None:
        return oracle_votes(market.name, history.features.raw, history.features.close)
    return plan_votes(best_plan(market.parameters), history)


def plan_votes(plan: Plan, history: MarketHistory) -> Votes:
    """Return the votes (T, 3) of a policy at every bar, all of confidence 1."""
    state, side = signal_states(history)
    action = plan.action[state]
    return side_votes(np.select([action == WITH, action == AGAINST], [side, -side], 0))
