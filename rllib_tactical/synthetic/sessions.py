"""What policies earn on a synthetic market, at equal position size, in the one simulator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.rule_policy import rule_votes
from rllib_tactical.domain.decision.votes import Votes
from rllib_tactical.domain.features.table import FeatureTable
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.simulation.simulator import Simulator
from rllib_tactical.domain.types import FloatArray, IntArray
from rllib_tactical.synthetic.generate import SyntheticMarket, make_market
from rllib_tactical.synthetic.oracle import FAMILIES, ORACLES, side_votes

RANDOM_RATE: Final = 0.05
"""Share of bars on which the random policy votes for a side."""


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

    @classmethod
    def join(cls, parts: list[SessionResults]) -> SessionResults:
        """Return the sessions of all parts, in order."""
        return cls(
            *(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__slots__)
        )


@dataclass(frozen=True, slots=True)
class PolicyResult:
    """One policy's line of a report.

    ``mean`` net dollars per session and ``error`` its standard error over the sessions of all
    seeds; ``share`` of the oracle's mean; ``trades`` and ``cost`` per session; ``win_rate`` of
    trades, NaN without any. ``family`` is "oracle", "gap", "momentum", "rule", "random" or "hold".
    """

    name: str
    family: str
    mean: float
    error: float
    share: float
    trades: float
    win_rate: float
    cost: float


@dataclass(frozen=True, slots=True)
class MarketReport:
    """Net P&L of the oracle and of simple policies on one market.

    ``policies`` begins with the oracle; ``sessions`` is their number over all seeds.
    """

    name: str
    seeds: tuple[int, ...]
    bars: int
    difficulty: float
    sessions: int
    policies: tuple[PolicyResult, ...]

    @property
    def oracle(self) -> PolicyResult:
        """The oracle's line."""
        return self.policies[0]

    def best_of(self, family: str) -> PolicyResult:
        """Return the line of the best policy of a family."""
        lines = [line for line in self.policies if line.family == family]
        return max(lines, key=lambda line: line.mean)


def session_results(
    history: MarketHistory, votes: Votes, rules: Rules | None = None
) -> SessionResults:
    """Play votes, one set per bar of the market history, session by session from a flat account.

    Whole sessions only, after the features' warm-up.

    Args:
        history: the market, T bars.
        votes: (T, 3), for each bar what the agents vote at its close.
        rules: aggregation, orders and risk; the defaults when None.
    """
    return _play(history, [votes], rules or Rules())[0]


def market_report(name: str, seeds: tuple[int, ...], bars: int, difficulty: float) -> MarketReport:
    """Make the market for each seed and report what the oracle and every simple policy earns."""
    parts: dict[tuple[str, str], list[SessionResults]] = {}
    for seed in seeds:
        market = make_market(name, seed, bars, difficulty)
        history = market.history()
        policies = _policies(market, history.features)
        for key, result in zip(
            policies, _play(history, list(policies.values()), Rules()), strict=True
        ):
            parts.setdefault(key, []).append(result)
    joined = {key: SessionResults.join(results) for key, results in parts.items()}
    oracle = next(iter(joined.values()))
    return MarketReport(
        name,
        tuple(seeds),
        bars,
        difficulty,
        len(oracle.pnl),
        tuple(_line(*key, result, oracle) for key, result in joined.items()),
    )


def format_report(report: MarketReport) -> str:
    """Return a report as a text table."""
    lines = [
        f"{report.name}: difficulty {report.difficulty:g}, {report.sessions} sessions of "
        f"{len(report.seeds)} seeds, net dollars per session",
        f"{'policy':40}{'mean':>9}{'s.e.':>7}{'share':>8}{'trades':>8}{'wins':>7}{'costs':>8}",
    ]
    for line in report.policies:
        lines.append(
            f"{line.name:40}{line.mean:9.1f}{line.error:7.1f}{line.share:8.1%}{line.trades:8.1f}"
            f"{line.win_rate:7.1%}{line.cost:8.1f}"
        )
    return "\n".join(lines)


def _policies(market: SyntheticMarket, table: FeatureTable) -> dict[tuple[str, str], Votes]:
    raw, close = table.raw, table.close
    sides = {("oracle", "oracle"): ORACLES[market.name](raw, close)}
    for family, rules in FAMILIES.items():
        sides |= {(name, family): rule(raw, close) for name, rule in rules.items()}
    rng = np.random.default_rng(market.seed)
    coin = rng.integers(0, 2, len(close)) * 2 - 1
    sides["random", "random"] = np.where(rng.random(len(close)) < RANDOM_RATE, coin, 0)
    sides["random, always in", "random"] = coin
    sides["always long", "hold"] = np.ones(len(close), dtype=np.int64)
    sides["always hold", "hold"] = np.zeros(len(close), dtype=np.int64)
    votes = {key: side_votes(side) for key, side in sides.items()}
    votes["rule-based", "rule"] = rule_votes(raw, close)
    return votes


def _line(name: str, family: str, result: SessionResults, oracle: SessionResults) -> PolicyResult:
    best, count, trades = float(oracle.pnl.mean()), len(result.pnl), int(result.trades.sum())
    return PolicyResult(
        name=name,
        family=family,
        mean=float(result.pnl.mean()),
        error=float(result.pnl.std(ddof=1) / np.sqrt(count)) if count > 1 else float("nan"),
        share=float(result.pnl.mean()) / best if best else float("nan"),
        trades=trades / count,
        win_rate=int(result.wins.sum()) / trades if trades else float("nan"),
        cost=float(result.cost.mean()),
    )


def _play(history: MarketHistory, policies: list[Votes], rules: Rules) -> list[SessionResults]:
    """Run every policy on every whole session, all at once: sessions start and end flat."""
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
    simulator = Simulator(history, rules, RewardConfig(), len(policy))
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
