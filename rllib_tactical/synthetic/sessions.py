"""What policies earn session by session on a synthetic market, in the one simulator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.votes import Votes
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.simulation.simulator import Simulator
from rllib_tactical.domain.types import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class SessionResults:
    """Results of one policy by session; arrays of shape (S,).

    ``pnl`` net dollars; ``trades``, ``wins`` closed trades; ``cost`` dollars of spread, slippage
    and commission.
    """

    pnl: FloatArray
    trades: IntArray
    wins: IntArray
    cost: FloatArray


def session_results(history: MarketHistory, policies: Sequence[Votes]) -> list[SessionResults]:
    """Play policies by the default rules, session by session, each from a flat account.

    Whole sessions only, after the features' warm-up; all sessions of all policies at once.

    Args:
        history: the market, T bars.
        policies: for each what its agents vote at the close of every bar, (T, 3).
    """
    starts = np.flatnonzero(history.sessions.is_first)
    stops = np.append(starts[1:] - 1, len(history) - 1)
    whole = (starts >= history.first_decision) & (history.sessions.elapsed[stops] == 1.0)
    whole &= stops > starts
    starts, stops = starts[whole], stops[whole]
    count = len(starts)
    index = np.stack([votes.index for votes in policies])
    confidence = np.stack([votes.confidence for votes in policies])
    policy = np.repeat(np.arange(len(policies)), count)
    session = np.tile(np.arange(count), len(policies))
    pnl, cost = np.zeros(len(policy)), np.zeros(len(policy))
    trades, wins = np.zeros(len(policy), dtype=np.int64), np.zeros(len(policy), dtype=np.int64)
    simulator = Simulator(history, Rules(), RewardConfig(), len(policy))
    simulator.reset(np.arange(len(policy)), starts[session])
    longest = int((stops - starts).max(initial=0))
    running = np.ones(len(policy), dtype=np.bool_)
    for _ in range(longest):
        # An account whose session is over starts it once more, uncounted, while longer ones end.
        over = np.flatnonzero(simulator.t >= stops[session])
        running[over] = False
        simulator.reset(over, starts[session[over]])
        t = simulator.t
        step = simulator.step(Votes(index[policy, t], confidence[policy, t]))
        pnl += np.where(running, step.equity_change, 0.0)
        closed = running & step.exited
        trades += closed
        wins += closed & (step.trade_pnl > 0)
        cost += np.where(closed, step.trade_cost, 0.0)
    shape = (len(policies), count)
    columns = (pnl.reshape(shape), trades.reshape(shape), wins.reshape(shape), cost.reshape(shape))
    return [SessionResults(*(column[i] for column in columns)) for i in range(len(policies))]
