"""What a bracket opened at a bar would have earned, traded or not: by the simulator itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from rllib_tactical.domain.decision.actions import EXECUTE, WAIT
from rllib_tactical.domain.decision.aggregation import aggregate
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.votes import Votes
from rllib_tactical.domain.preconditions import require_shape
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.simulation.simulator import Simulator
from rllib_tactical.domain.types import HOLD, LONG, NUM_AGENTS, FloatArray, IntArray
from rllib_tactical.errors import DataError

ACCOUNTS = 1024  # brackets followed side by side


def bracket_pnl(
    history: MarketHistory, rules: Rules, t: IntArray, side: IntArray, stop: int
) -> FloatArray:
    """Return the net P&L in dollars (K,) of brackets decided at the close of bars ``t`` (K,).

    Each is an order of an account of its own with the rules' first equity: filled at the next
    open, ended by its stop, its target or the session's end, with all costs. NaN where the rules
    refuse the order, such as at a session's last bar, and where it has not ended before ``stop``.

    Args:
        history: the market.
        rules: of orders and risk.
        t: decision bars, 0 <= t < stop - 1.
        side: +1 or -1.
        stop: one past the last bar that may be looked at.

    Raises:
        ArrayError: ``t`` or ``side`` of another rank, shape or dtype.
        DataError: a bar is outside of the range.
    """
    require_shape(t, ("K",), np.integer, "t")
    require_shape(side, t.shape, np.integer, "side")
    if len(t) and not (t.min() >= 0 and t.max() < stop - 1 and stop <= len(history)):
        raise DataError(f"brackets need bars from 0 to {stop - 2}, found {t.min()} to {t.max()}")
    pnl = np.full(len(t), np.nan)
    # the side is given: nothing but the risk limits may refuse it
    rules = replace(rules, aggregation=replace(rules.aggregation, counter_synergy_factor=1.0))
    accounts = min(ACCOUNTS, len(t))
    simulator = Simulator(history, rules, RewardConfig(), max(1, accounts))
    task = np.full(simulator.num_accounts, -1)  # which bracket an account follows
    task[:accounts] = np.arange(accounts)
    simulator.reset(np.arange(accounts), t[:accounts])
    begins, following = task >= 0, accounts
    while (task >= 0).any():
        idle = ((task < 0) & (simulator.t >= stop - 2)).nonzero()[0]
        if len(idle):  # an account without a bracket must not reach the last bar
            simulator.reset(idle, np.zeros(len(idle), dtype=np.int64))
        step = simulator.step(_votes(np.where(begins, side[task], HOLD)))
        ended = step.exited & (task >= 0)
        pnl[task[ended]] = step.trade_pnl[ended]
        refused = begins & ~step.entered
        done = ((task >= 0) & (ended | refused | (simulator.t == stop - 1))).nonzero()[0]
        begins = np.zeros(len(task), dtype=np.bool_)
        if len(done):
            fresh = np.arange(following, min(following + len(done), len(t)))
            following += len(fresh)
            task[done] = -1
            task[done[: len(fresh)]], begins[done[: len(fresh)]] = fresh, True
            start = np.zeros(len(done), dtype=np.int64)
            start[: len(fresh)] = t[fresh]
            simulator.reset(done, start)
    return pnl


def vote_outcomes(
    history: MarketHistory, votes: Votes, rules: Rules, start: int, stop: int
) -> pd.DataFrame:
    """Return one row per bar start <= t < stop - 1 on which the votes have a direction.

    Columns: ``bar``; ``leading``, +1 or -1, what fvg and momentum lead to; ``waits``, whether the
    entry agent waits; ``winner``, the side of the whole vote, 0 for hold, executed or not; and
    ``pnl``, the net P&L in dollars of a bracket to the leading side (see ``bracket_pnl``). Bars
    with an unknown outcome are left out.
    """
    index, confidence = votes.index[:-1], votes.confidence[:-1]
    t = np.arange(start, stop - 1)
    context = history.synergy.kind[t], history.synergy.direction[t], rules.aggregation
    executing = index.copy()
    executing[:, 2] = EXECUTE
    # a certain "execute" shows where the others lead, whatever the entry agent thinks of it
    certain = confidence.copy()
    certain[:, 2] = 1.0
    leading = aggregate(executing, certain, *context).side
    winner = aggregate(index, confidence, *context).side
    row = (leading != HOLD).nonzero()[0]
    pnl = bracket_pnl(history, rules, t[row], leading[row], stop)
    known = np.isfinite(pnl)
    row = row[known]
    return pd.DataFrame(
        {
            "bar": t[row],
            "leading": leading[row],
            "waits": index[row, 2] == WAIT,
            "winner": winner[row],
            "pnl": pnl[known],
        }
    )


def _votes(side: IntArray) -> Votes:
    """Return certain votes of all agents for ``side`` (N,): +1, -1, or 0 to stay out."""
    index = np.empty((len(side), NUM_AGENTS), dtype=np.int64)
    index[:, :2] = LONG - side[:, None]  # listed from +1 to -1
    index[:, 2] = np.where(side == HOLD, WAIT, EXECUTE)
    return Votes(index, np.ones(index.shape))
