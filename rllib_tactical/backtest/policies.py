"""Built-in policies by name: what can be backtested without a bundle."""

from __future__ import annotations

from typing import Final

import numpy as np

from rllib_tactical.backtest.baselines import always_hold, buy_and_hold, rule_based
from rllib_tactical.data.markets.report import RANDOM_RATE
from rllib_tactical.data.markets.rules import oracle_votes, side_votes
from rllib_tactical.domain.tape import Tape
from rllib_tactical.domain.votes import Votes
from rllib_tactical.errors import UsageError

POLICIES: Final = {
    "hold": "Always hold",
    "buy-and-hold": "Buy and hold",
    "random": f"Random (on {RANDOM_RATE:.0%} of the bars)",
    "rules": "Rule-based",
    "oracle": "Oracle of the planted edge",
}
"""Names on the command line and labels in reports."""


AS_BASELINE: Final = {
    "hold": "always_hold",
    "buy-and-hold": "buy_and_hold",
    "rules": "rule_based",
}
"""Which baseline of a report each is. A report's random one trades as often as the policy."""


def policy_votes(
    name: str,
    tape: Tape,
    start: int,
    stop: int,
    *,
    seed: int = 0,
    market: str | None = None,
) -> Votes:
    """Return the votes of a built-in policy for the bars start <= t < stop.

    Args:
        name: one of ``POLICIES``. ``random`` votes for either side on a twentieth of the bars.
        tape: the market.
        start: first decision bar.
        stop: one past the last bar.
        seed: of ``random``.
        market: for ``oracle``, which planted market the bars are of.

    Raises:
        UsageError: an unknown name, or an oracle without its market.
    """
    if name == "hold":
        return always_hold(tape, start, stop)
    if name == "buy-and-hold":
        return buy_and_hold(tape, start, stop)
    if name == "rules":
        return rule_based(tape, start, stop)
    if name == "random":
        rng = np.random.default_rng(seed)
        coin = rng.integers(0, 2, stop - start) * 2 - 1
        return side_votes(np.where(rng.random(stop - start) < RANDOM_RATE, coin, 0))
    if name == "oracle":
        return planted_votes(market, tape, start, stop)
    raise UsageError(f"--policy must be one of {', '.join(POLICIES)}, found {name!r}")


def planted_votes(market: str | None, tape: Tape, start: int, stop: int) -> Votes:
    """Return the votes of a planted market's oracle for the bars start <= t < stop.

    Raises:
        UsageError: no market is named, or an unknown one.
    """
    if market is None:
        raise UsageError(
            "--policy oracle needs --market: only of a planted market is the oracle known"
        )
    part = slice(start, stop)
    return oracle_votes(market, tape.features.raw[part], tape.bars.close[part])
