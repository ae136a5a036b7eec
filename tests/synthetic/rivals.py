"""Simple policies beside the oracle of a synthetic market, and what they earn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rllib_tactical.domain.decision.rule_policy import rule_votes
from rllib_tactical.domain.decision.votes import Votes
from rllib_tactical.domain.types import FloatArray, IntArray
from rllib_tactical.synthetic import SyntheticMarket, make_market
from rllib_tactical.synthetic.oracle import Rule, oracle_votes, side_votes
from rllib_tactical.synthetic.sessions import SessionResults, session_results


@dataclass(frozen=True)
class Line:
    """One policy on one market: net dollars, trades and costs per session, over all seeds.

    ``error`` is the standard error of ``mean``; ``family`` is "oracle", "gap", "momentum",
    "rule", "random" or "hold".
    """

    name: str
    family: str
    sessions: int
    mean: float
    error: float
    trades: float
    win_rate: float
    cost: float


def market_lines(name: str, seeds: tuple[int, ...], bars: int) -> list[Line]:
    """Make the market for each seed; return a line per policy, the oracle first."""
    parts: dict[tuple[str, str], list[SessionResults]] = {}
    for seed in seeds:
        market = make_market(name, seed, bars, 0.0)
        history = market.history()
        policies = _policies(market, history.features.raw, history.features.close)
        results = session_results(history, list(policies.values()))
        for key, result in zip(policies, results, strict=True):
            parts.setdefault(key, []).append(result)
    return [_line(*key, results) for key, results in parts.items()]


def best_of(lines: list[Line], family: str) -> Line:
    return max((line for line in lines if line.family == family), key=lambda line: line.mean)


def _line(name: str, family: str, results: list[SessionResults]) -> Line:
    pnl, trades, wins, cost = (
        np.concatenate([getattr(result, column) for result in results])
        for column in ("pnl", "trades", "wins", "cost")
    )
    return Line(
        name=name,
        family=family,
        sessions=len(pnl),
        mean=pnl.mean(),
        error=pnl.std(ddof=1) / np.sqrt(len(pnl)),
        trades=trades.mean(),
        win_rate=wins.sum() / max(1, trades.sum()),
        cost=cost.mean(),
    )


def _policies(
    market: SyntheticMarket, raw: FloatArray, close: FloatArray
) -> dict[tuple[str, str], Votes]:
    sides = {
        (name, family): rule(raw, close)
        for family, rules in FAMILIES.items()
        for name, rule in rules.items()
    }
    rng = np.random.default_rng(market.seed)
    coin = rng.integers(0, 2, len(close)) * 2 - 1
    sides["random", "random"] = np.where(rng.random(len(close)) < 0.05, coin, 0)
    sides["random, always in", "random"] = coin
    sides["always long", "hold"] = np.ones(len(close), dtype=np.int64)
    sides["always hold", "hold"] = np.zeros(len(close), dtype=np.int64)
    votes = {("oracle", "oracle"): oracle_votes(market.name, raw, close)}
    votes |= {key: side_votes(side) for key, side in sides.items()}
    votes["rule-based", "rule"] = rule_votes(raw, close)
    return votes


def _touch(raw: FloatArray, close: FloatArray) -> IntArray:
    """Return the side of the nearest gap on every first touch, whatever its age and distance."""
    side = np.where((raw[:, 4] > 0) & (raw[:, 2] != 0.0), np.sign(close - raw[:, 2]), 0.0)
    return side.astype(np.int64)


def _zone(raw: FloatArray, close: FloatArray) -> IntArray:
    """Return the side of the nearest gap on every bar that has one."""
    return np.where(raw[:, 2] != 0.0, np.sign(close - raw[:, 2]), 0.0).astype(np.int64)


def _kind(raw: FloatArray, close: FloatArray) -> IntArray:
    """Return the side of the active gaps where they are all of one kind."""
    return (raw[:, 0] - raw[:, 1]).astype(np.int64)


def _trend(percent: float, volume: float = 0.0) -> Rule:
    def rule(raw: FloatArray, close: FloatArray) -> IntArray:
        active = (np.abs(raw[:, 5]) > percent) & (raw[:, 6] >= volume)
        return np.where(active, np.sign(raw[:, 5]), 0.0).astype(np.int64)

    return rule


def _fade(rule: Rule) -> Rule:
    return lambda raw, close: -rule(raw, close)


_GAP_RULES: dict[str, Rule] = {
    "touch of the nearest gap": _touch,
    "side of the nearest gap": _zone,
    "kind of gap": _kind,
}
_MOMENTUM_RULES: dict[str, Rule] = {
    "momentum > 0": _trend(0.0),
    "momentum > 0.2%": _trend(0.2),
    "momentum > 0.35%": _trend(0.35),
    "momentum > 0.5%": _trend(0.5),
    "momentum > 0.75%": _trend(0.75),
    "momentum > 0.25%, volume > 1.5": _trend(0.25, 1.5),
    "momentum > 0.5%, volume > 1.5": _trend(0.5, 1.5),
}
FAMILIES: dict[str, dict[str, Rule]] = {
    family: rules | {f"fade {name}": _fade(rule) for name, rule in rules.items()}
    for family, rules in (("gap", _GAP_RULES), ("momentum", _MOMENTUM_RULES))
}
"""Simple rules of each family and their opposites."""
