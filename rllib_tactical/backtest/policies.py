"""Built-in policies by name: what can be backtested without a bundle."""

from __future__ import annotations

from typing import Final

import numpy as np

from rllib_tactical.backtest.engine import hold_votes, run_backtest
from rllib_tactical.backtest.result import BacktestResult
from rllib_tactical.backtest.trades import entry_bars
from rllib_tactical.domain.decision.actions import EXECUTE
from rllib_tactical.domain.decision.rule_policy import rule_votes
from rllib_tactical.domain.decision.votes import Votes
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.domain.types import NUM_AGENTS, BoolArray
from rllib_tactical.errors import UsageError
from rllib_tactical.synthetic.oracle import oracle_votes, side_votes

RANDOM_RATE: Final = 0.05
"""Share of bars on which the random policy votes for a side."""

POLICIES: Final = {
    "hold": "No trades",
    "always-long": "Always long with brackets",
    "random": f"Random (on {RANDOM_RATE:.0%} of the bars)",
    "rules": "Rule-based",
    "oracle": "Oracle of the planted edge",
}
"""Names on the command line and labels in reports."""


AS_BASELINE: Final = {
    "hold": "no_trades",
    "always-long": "always_long",
    "rules": "rule_based",
}
"""Which baseline of a report each is. A report's random one trades as often as the policy."""


def policy_votes(
    name: str,
    history: MarketHistory,
    start: int,
    stop: int,
    *,
    seed: int = 0,
    market: str | None = None,
) -> Votes:
    """Return the votes of a built-in policy for the bars start <= t < stop.

    Args:
        name: one of ``POLICIES``. ``random`` votes for either side on a twentieth of the bars.
        history: the market.
        start: first decision bar.
        stop: one past the last bar.
        seed: of ``random``.
        market: for ``oracle``, which synthetic market the bars are of.

    Raises:
        UsageError: an unknown name, or an oracle without its market.
    """
    if name == "hold":
        return hold_votes(stop - start)
    if name == "always-long":
        return always_long(history, start, stop)
    if name == "rules":
        return rule_based(history, start, stop)
    if name == "random":
        rng = np.random.default_rng(seed)
        coin = rng.integers(0, 2, stop - start) * 2 - 1
        return side_votes(np.where(rng.random(stop - start) < RANDOM_RATE, coin, 0))
    if name == "oracle":
        return planted_votes(market, history, start, stop)
    raise UsageError(f"--policy must be one of {', '.join(POLICIES)}, found {name!r}")


def planted_votes(market: str | None, history: MarketHistory, start: int, stop: int) -> Votes:
    """Return the votes of a synthetic market's oracle for the bars start <= t < stop.

    Raises:
        UsageError: no market is named, or an unknown one.
    """
    if market is None:
        raise UsageError(
            "--policy oracle needs --market: only of a synthetic market is the oracle known"
        )
    part = slice(start, stop)
    return oracle_votes(market, history.features.raw[part], history.bars.close[part])


BASELINES: Final = {
    "no_trades": "No trades",
    "buy_and_hold": "Buy and hold",
    "buy_and_hold_days": "Buy and hold, no nights",
    "always_long": "Always long with brackets",
    "random": "Random (same rate)",
    "rule_based": "Rule-based",
}
"""Names and labels, in the order of reports."""


EXPLANATIONS: Final = {
    "no_trades": "never trades",
    "buy_and_hold": "buys the base quantity once and holds it to the end, nights included",
    "buy_and_hold_days": "buys the base quantity at each session's open and sells it at its close",
    "always_long": "votes long with full confidence on every bar: long whenever flat, under the "
    "same stops, targets, session ends and costs",
    "random": "votes of the policy's own entries, drawn at random, on random bars and mirrored "
    "half the time, as often as needed for the same number of trades",
    "rule_based": "trades a touched gap in the direction of the last five bars on high volume",
}
"""What each baseline does, in words."""


RATE_TOLERANCE: Final = 0.1


_SEARCH_STEPS: Final = 14


def always_long(history: MarketHistory, start: int, stop: int) -> Votes:
    """Return votes that are long with full confidence on every bar.

    The rules still apply: stops, targets and session ends close the position, and the next bar
    buys again. ``passive.passive_result`` is the account that buys once and holds.
    """
    index = np.zeros((stop - start, NUM_AGENTS), dtype=np.int64)
    index[:, 2] = EXECUTE
    return Votes(index, np.ones(index.shape))


def rule_based(history: MarketHistory, start: int, stop: int) -> Votes:
    """Return the votes of the rule-based policy (``domain.policies.rule_votes``)."""
    part = slice(start, stop)
    return rule_votes(history.features.raw[part], history.bars.close[part])


def random_like(policy: BacktestResult, seed: int = 0, active: BoolArray | None = None) -> Votes:
    """Return random votes that make about as many trades as ``policy`` made.

    On a random share of the bars the agents vote as on a randomly chosen entry of the policy,
    mirrored with probability one half; on the others they stay out. Sizes and confidences are thus
    the policy's, time and side are chance. The share is searched by bisection, with the same random
    numbers, until the number of trades is within 10% of the policy's or the search is exhausted (as
    many trades may be impossible, for instance where the policy's trades are very short).

    Args:
        policy: the backtest to imitate.
        seed: of all random choices.
        active: (K,) the bars on which the agents may vote; all when None.
    """
    count, wanted = policy.stop - policy.start, len(policy.trades)
    if wanted == 0:
        return hold_votes(count)
    rng = np.random.default_rng(seed)
    when = rng.random(count)
    if active is not None:
        when[~active] = 1.0
    entries = entry_bars(policy.trades) - policy.start
    source = rng.choice(entries, count)
    mirrored = rng.random(count) < 0.5
    index, confidence = policy.votes.index[source], policy.votes.confidence[source]
    # fvg and momentum list their actions from +1 to -1; the entry agent has no side to mirror
    index[mirrored, :2] = 2 - index[mirrored, :2]
    nothing = hold_votes(count)

    def votes_at(share: float) -> Votes:
        act = (when < share)[:, None]
        return Votes(
            np.where(act, index, nothing.index), np.where(act, confidence, nothing.confidence)
        )

    low, high = 0.0, 1.0
    share, best, best_miss = min(1.0, wanted / count), votes_at(0.0), float(wanted)
    for _ in range(_SEARCH_STEPS):
        votes = votes_at(share)
        made = len(
            run_backtest(policy.history, votes, policy.rules, policy.start, policy.stop).trades
        )
        if abs(made - wanted) < best_miss:
            best, best_miss = votes, abs(made - wanted)
        if best_miss <= RATE_TOLERANCE * wanted:
            break
        low, high = (share, high) if made < wanted else (low, share)
        # few trades per share at first, so that a guess in proportion is a good one
        guess = share * wanted / made if made else 2.0 * share
        share = guess if low < guess < high else 0.5 * (low + high)
    return best
