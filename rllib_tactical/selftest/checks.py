"""Self-tests of a bundle and of the harness that evaluates it: each with a metric and a verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from rllib_tactical.backtest.engine import bundle_votes, policy_probabilities, run_backtest
from rllib_tactical.backtest.metrics import daily_pnl
from rllib_tactical.backtest.policies import policy_votes
from rllib_tactical.backtest.result import BacktestResult
from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.risk import RiskConfig
from rllib_tactical.domain.decision.votes import Votes
from rllib_tactical.domain.features.table import mirrored_inputs
from rllib_tactical.domain.simulation.history import EMBARGO_BARS, MarketHistory
from rllib_tactical.domain.types import BoolArray, FloatArray
from rllib_tactical.selftest.perturb import (
    history_of,
    mirrored_history,
    other_future,
    permuted_history,
)
from rllib_tactical.statistics.significance import money
from rllib_tactical.synthetic import make_market

CUTS: Final = 4
WARM_UPS: Final = (60, 300, 1_000)
PERMUTATIONS: Final = 5
MARKET_BARS: Final = 8_000
ERRORS: Final = 3.0
"""Standard errors beyond which a mean is not put down to chance."""

MIRRORED_TRADES: Final = 0.99
MIRRORED_VOTES: Final = 2.0 / 3.0
EQUAL_VOTES: Final = 0.999


@dataclass(frozen=True, slots=True)
class Check:
    """One self-test: ``passed`` None where there was nothing to test; ``rule`` is what passes."""

    name: str
    passed: bool | None
    figure: str
    rule: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Subject:
    """What is tested: a bundle on a market. ``result`` is its backtest over the whole market."""

    bundle: Bundle
    history: MarketHistory
    votes: Votes
    result: BacktestResult
    seed: int

    @classmethod
    def of(cls, bundle: Bundle, history: MarketHistory, seed: int) -> Subject:
        """Return the subject with its votes and backtest."""
        votes, result = _trade(bundle, history)
        return cls(bundle, history, votes, result, seed)


def look_ahead(subject: Subject) -> Check:
    """Change all bars after a cut: no vote, decision or fill up to it may change."""
    history, bundle, rng = subject.history, subject.bundle, np.random.default_rng(subject.seed)
    start = history.first_decision
    changed, compared = 0, 0
    for cut in np.sort(rng.integers(start + 2, len(history) - 2, CUTS)).tolist():
        bars = other_future(history.bars, cut, history.instrument.tick_size, rng)
        other = history_of(bars, history.instrument, bundle.bar_seconds)
        first = max(start, cut - 500)
        parts = []
        for each in (history, other):
            votes = bundle_votes(bundle, each, np.arange(first, cut + 1))
            parts.append((votes, run_backtest(each, votes, bundle.rules, first, cut + 1)))
        (votes_a, a), (votes_b, b) = parts
        same = (votes_a.index == votes_b.index).all(axis=1)
        same &= (votes_a.confidence == votes_b.confidence).all(axis=1)
        same &= a.equity["equity"].to_numpy() == b.equity["equity"].to_numpy()
        changed += int((~same).sum())
        compared += len(same)
    return Check(
        "look-ahead",
        changed == 0,
        f"{changed} of {compared:,} bars changed when the future did ({CUTS} cuts)",
        "no bar's votes, confidences or equity change",
    )


def recursive(subject: Subject) -> Check:
    """Begin the history later: after the warm-up the votes must be the same."""
    history, bundle = subject.history, subject.bundle
    equal, worst, count = 0, 0.0, 0
    for shift in WARM_UPS:
        if len(history) - shift <= EMBARGO_BARS + 2:
            continue
        later = history_of(history.bars[shift:], history.instrument, bundle.bar_seconds)
        t = np.arange(later.first_decision, min(len(later), later.first_decision + 1_000))
        engine, scale = bundle.engine(), bundle.temperature_scale
        a = policy_probabilities(engine, history, t + shift, scale)
        b = policy_probabilities(engine, later, t, scale)
        equal += int((a.argmax(axis=-1) == b.argmax(axis=-1)).sum())
        count += a.shape[0] * a.shape[1]
        worst = max(worst, float(np.abs(a - b).max()))
    if count == 0:
        return Check("recursive", None, "too few bars", "")
    return Check(
        "recursive",
        equal >= EQUAL_VOTES * count,
        f"{equal / count:.3%} of {count:,} votes the same for histories that begin "
        f"{', '.join(map(str, WARM_UPS))} bars later; largest change of a probability {worst:.1e}",
        f"at least {EQUAL_VOTES:.1%}",
    )


def mirrored_fills(subject: Subject) -> Check:
    """Reflect prices and votes: the same trades on the other side, with the same P&L."""
    history = subject.history
    # notional depends on the price level, which a reflection changes
    risk = RiskConfig(max_leverage=1e6)
    rules = Rules(
        aggregation=subject.bundle.rules.aggregation, orders=subject.bundle.rules.orders, risk=risk
    )
    start, stop = history.first_decision, len(history)
    index = subject.votes.index.copy()
    index[:, :2] = 2 - index[:, :2]
    a = run_backtest(history, subject.votes, rules, start, stop)
    b = run_backtest(
        mirrored_history(history), Votes(index, subject.votes.confidence), rules, start, stop
    )
    keys = [
        set(zip(r.trades["entry_bar"], r.trades["exit_bar"], r.trades["side"], strict=True))
        for r in (a, b)
    ]
    turned = {"long": "short", "short": "long"}
    common = len(keys[0] & {(x, y, turned[side]) for x, y, side in keys[1]})
    if not len(a.trades):
        return Check("mirror, fills", None, "the policy makes no trade", "")
    share = common / max(len(a.trades), len(b.trades))
    return Check(
        "mirror, fills",
        share >= MIRRORED_TRADES,
        f"{share:.1%} of {len(a.trades):,} trades mirrored; P&L {money(a.net_pnl)} and "
        f"{money(b.net_pnl)}",
        f"at least {MIRRORED_TRADES:.0%} (rounding to the tick may move a level)",
    )


def mirrored_votes(subject: Subject) -> Check:
    """Turn the agents' inputs: where they vote for a side they should vote for the other."""
    bundle, history = subject.bundle, subject.history
    t = np.arange(history.first_decision, len(history), 4)
    engine = bundle.engine()
    inputs = history.inputs.gather(t)
    plain = engine.logits(inputs).argmax(axis=-1)[:, :2]
    turned = engine.logits(mirrored_inputs(inputs)).argmax(axis=-1)[:, :2]
    sided: BoolArray = plain != 1
    if not sided.any():
        return Check("mirror, agents", None, "fvg and momentum never vote for a side", "")
    share = float((turned == 2 - plain)[sided].mean())
    return Check(
        "mirror, agents",
        share >= MIRRORED_VOTES,
        f"{share:.1%} of {int(sided.sum()):,} votes for a side turn with the inputs",
        f"at least {MIRRORED_VOTES:.0%}; fewer say that a side is preferred whatever the bars",
    )


def cost_stress(subject: Subject) -> Check:
    """Trade the same votes at one, two and four times the costs."""
    history, rules = subject.history, subject.bundle.rules
    start, stop = history.first_decision, len(history)
    if not len(subject.result.trades):
        return Check("cost stress", None, "the policy makes no trade", "")
    pnl = [
        run_backtest(history, subject.votes, rules, start, stop, cost_factor=factor).net_pnl
        for factor in (1.0, 2.0, 4.0)
    ]
    costs = float(subject.result.trades["costs"].sum())
    even = 1.0 + pnl[0] / costs if costs > 0 else float("inf")
    return Check(
        "cost stress",
        pnl[0] > pnl[1] > pnl[2],
        f"P&L {money(pnl[0])}, x2 {money(pnl[1])}, x4 {money(pnl[2])}; nothing is left at "
        f"{max(0.0, even):.1f} times the costs",
        "higher costs earn less",
    )


def noise_market(subject: Subject) -> Check:
    """Trade a market without any edge: nothing may be earned before costs."""
    history = make_market("noise", subject.seed + 1, MARKET_BARS).history()
    _, result = _trade(subject.bundle, history)
    return _no_edge("noise market", [result], "")


def permuted_bars(subject: Subject) -> Check:
    """Trade the market's own bars in random order: nothing may be earned before costs."""
    rng = np.random.default_rng(subject.seed)
    results = [
        _trade(subject.bundle, permuted_history(subject.history, subject.bundle.bar_seconds, rng))[
            1
        ]
        for _ in range(PERMUTATIONS)
    ]
    better = sum(result.net_pnl >= subject.result.net_pnl for result in results)
    text = f"; {better} of {PERMUTATIONS} orders earn as much as the real one"
    return _no_edge("permuted bars", results, text)


def oracle_wins(subject: Subject) -> Check:
    """Trade synthetic markets: the oracle earns, and nobody earns more."""
    texts, passed = [], True
    for market in ("gap", "momentum"):
        history = make_market(market, subject.seed + 1, MARKET_BARS).history()
        start, stop = history.first_decision, len(history)
        votes = policy_votes("oracle", history, start, stop, market=market)
        oracle = run_backtest(history, votes, Rules(), start, stop)
        votes = policy_votes("random", history, start, stop, seed=subject.seed)
        chance = run_backtest(history, votes, Rules(), start, stop)
        _, bundle = _trade(subject.bundle, history)
        mean, error = _mean(daily_pnl(oracle)["pnl"].to_numpy())
        passed &= mean > ERRORS * error and oracle.net_pnl > max(chance.net_pnl, bundle.net_pnl)
        texts.append(
            f"{market}: oracle {money(mean)} a day, random {chance.net_pnl / oracle.net_pnl:.0%} "
            f"of it, bundle {bundle.net_pnl / oracle.net_pnl:.0%}"
        )
    rule = f"the oracle earns, by {ERRORS:g} standard errors, and more than random and bundle"
    return Check("oracle wins", passed, "; ".join(texts), rule)


CHECKS: Final[tuple[Callable[[Subject], Check], ...]] = (
    look_ahead,
    recursive,
    mirrored_fills,
    mirrored_votes,
    cost_stress,
    noise_market,
    permuted_bars,
    oracle_wins,
)
"""All self-tests in the order of the report."""


def _trade(bundle: Bundle, history: MarketHistory) -> tuple[Votes, BacktestResult]:
    start, stop = history.first_decision, len(history)
    votes = bundle_votes(bundle, history, np.arange(start, stop))
    return votes, run_backtest(history, votes, bundle.rules, start, stop)


def _no_edge(name: str, results: list[BacktestResult], text: str) -> Check:
    """Check that P&L before costs is not above zero by more than chance explains."""
    trades = sum(len(result.trades) for result in results)
    if trades == 0:
        return Check(name, None, "the policy makes no trade", "")
    gross = np.concatenate([_gross_by_day(result) for result in results])
    mean, error = _mean(gross)
    net = sum(result.net_pnl for result in results) / len(gross)
    return Check(
        name,
        mean <= ERRORS * error,
        f"{money(mean)} +/- {money(error)} a day before costs, {money(net)} after, "
        f"{trades / len(gross):.1f} trades a day{text}",
        f"before costs no more than {ERRORS:g} standard errors above zero",
    )


def _gross_by_day(result: BacktestResult) -> FloatArray:
    """Return the daily P&L (D,) before costs; a trade's costs count on the day of its exit."""
    daily = daily_pnl(result).set_index("session")
    exits = result.history.sessions.session_id[result.trades["exit_bar"].to_numpy(dtype=np.int64)]
    costs = result.trades["costs"].groupby(exits).sum().reindex(daily.index, fill_value=0.0)
    return np.asarray((daily["pnl"] + costs).to_numpy(), dtype=np.float64)


def _mean(values: FloatArray) -> tuple[float, float]:
    """Return mean and standard error of values (K,)."""
    if len(values) < 2:
        return float(values.mean()), float("inf")
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
