"""What each agent contributes to the P&L: exact Shapley values over the eight coalitions.

An agent that is absent from a coalition goes along with those that are present. Without fvg its
vote is that of momentum, and the other way round; without both there is nothing to go along with,
and no trade. Without entry every trade of the other two is executed, with their mean confidence. So
a coalition passes the threshold by what its members say, not by what they lack.

The Shapley value of agent i is the mean of what it adds over all orders in which the three may join
(Shapley, 1953):

    phi_i = sum over S without i of |S|! (2 - |S|)! / 3! (v(S + i) - v(S))

with the net P&L v(S) of a coalition. The three values sum to the net P&L of the policy.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import factorial
from typing import Any, Final

import numpy as np

from rllib_tactical.backtest.engine import hold_votes, run_backtest
from rllib_tactical.backtest.metrics import daily_pnl
from rllib_tactical.backtest.result import BacktestResult
from rllib_tactical.domain.decision.actions import EXECUTE
from rllib_tactical.domain.decision.votes import Votes
from rllib_tactical.domain.types import AGENTS, NUM_AGENTS, FloatArray

Coalition = frozenset[int]
"""Numbers of the agents that are present, in the order of AGENTS."""

FVG, MOMENTUM, ENTRY = range(NUM_AGENTS)
COALITIONS: Final[tuple[Coalition, ...]] = tuple(
    frozenset(members)
    for size in range(NUM_AGENTS + 1)
    for members in combinations(range(NUM_AGENTS), size)
)


@dataclass(frozen=True, slots=True)
class Contribution:
    """One agent's part of the net P&L, in dollars.

    ``shapley`` with its standard error over sessions (NaN for one session); ``alone``: net P&L of
    the agent by itself; ``last``: what it adds to the other two; ``trades_without``: how many
    trades the other two make.
    """

    agent: str
    shapley: float
    error: float
    alone: float
    last: float
    trades_without: int


@dataclass(frozen=True, slots=True)
class AgentValues:
    """Contributions of the three agents, and net P&L and trades of each coalition by its name."""

    contributions: tuple[Contribution, ...]
    net_pnl: dict[str, float]
    trades: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, fit for ``kpis.json``; errors that are undefined are None."""
        return {
            "shapley": {
                each.agent: {
                    "value": each.shapley,
                    "error": None if np.isnan(each.error) else each.error,
                    "alone": each.alone,
                    "last": each.last,
                    "trades_without": each.trades_without,
                }
                for each in self.contributions
            },
            "coalitions": {
                name: {"net_pnl": self.net_pnl[name], "trades": self.trades[name]}
                for name in self.net_pnl
            },
        }


def coalition_votes(votes: Votes, present: Coalition) -> Votes:
    """Return the votes (K, 3) when only some agents are present and the others go along."""
    if not present - {ENTRY}:
        return hold_votes(len(votes.index))
    index, confidence = votes.index.copy(), votes.confidence.copy()
    for absent, other in ((FVG, MOMENTUM), (MOMENTUM, FVG)):
        if absent not in present:
            index[:, absent] = votes.index[:, other]
            confidence[:, absent] = votes.confidence[:, other]
    if ENTRY not in present:
        index[:, ENTRY] = EXECUTE
        confidence[:, ENTRY] = confidence[:, :ENTRY].mean(axis=1)
    return Votes(index, confidence)


def agent_values(result: BacktestResult) -> AgentValues:
    """Return what each agent contributes to a backtest's net P&L.

    Runs the votes of the other coalitions over the same bars, by the same rules.
    """
    daily: dict[Coalition, FloatArray] = {}
    trades: dict[Coalition, int] = {}
    nobody = np.zeros(len(daily_pnl(result)))
    for present in COALITIONS:
        if not present - {ENTRY}:
            daily[present], trades[present] = nobody, 0
            continue
        played = result
        if len(present) < NUM_AGENTS:
            votes = coalition_votes(result.votes, present)
            played = run_backtest(result.history, votes, result.rules, result.start, result.stop)
        daily[present] = daily_pnl(played)["pnl"].to_numpy(dtype=np.float64)
        trades[present] = len(played.trades)
    everyone = COALITIONS[-1]
    contributions = []
    for agent, name in enumerate(AGENTS):
        value = shapley_value(daily, agent)
        sessions = len(value)
        error = value.std(ddof=1) * np.sqrt(sessions) if sessions > 1 else np.nan
        without = everyone - {agent}
        contributions.append(
            Contribution(
                agent=name,
                shapley=float(value.sum()),
                error=float(error),
                alone=float(daily[frozenset({agent})].sum()),
                last=float((daily[everyone] - daily[without]).sum()),
                trades_without=trades[without],
            )
        )
    names = {present: name_of(present) for present in COALITIONS}
    return AgentValues(
        tuple(contributions),
        {names[present]: float(values.sum()) for present, values in daily.items()},
        {names[present]: count for present, count in trades.items()},
    )


def shapley_value(worth: dict[Coalition, FloatArray], agent: int) -> FloatArray:
    """Return an agent's Shapley value, the formula at the head of this module.

    Args:
        worth: by coalition, arrays of one shape: the value is linear in them.
        agent: its number.
    """
    value = np.zeros_like(worth[frozenset()])
    for present in COALITIONS:
        if agent not in present:
            size = len(present)
            weight = factorial(size) * factorial(NUM_AGENTS - size - 1) / factorial(NUM_AGENTS)
            value += weight * (worth[present | {agent}] - worth[present])
    return value


def name_of(present: Coalition) -> str:
    """Return a coalition's name, such as ``fvg+entry``; ``nobody`` for the empty one."""
    return "+".join(AGENTS[agent] for agent in sorted(present)) or "nobody"
