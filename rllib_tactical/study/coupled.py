"""Evaluate actors on the coupled market: its instruments share one place, and so does the score."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from rllib_tactical.backtest.together import Voted, run_side_by_side
from rllib_tactical.bundle.inference import LogitsEngine
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.votes import Votes
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.rl.training.validation import equal_size
from rllib_tactical.study.scoring import (
    Performance,
    logits_between,
    performance_of,
    serving_votes,
)
from rllib_tactical.synthetic.coupled import PLACES, coupled_oracle, make_coupled

Histories = tuple[MarketHistory, ...]


@functools.lru_cache(maxsize=2)
def coupled_histories(seed: int, bars: int) -> Histories:
    """Return the instruments of a coupled market."""
    return tuple(market.history() for market in make_coupled(seed, bars))


@functools.lru_cache(maxsize=2)
def _oracle(seed: int, bars: int) -> list[Votes]:
    return coupled_oracle(coupled_histories(seed, bars))


def trade_coupled(
    histories: Histories,
    policies: Sequence[Sequence[Votes]],
    rules: Rules,
    start: int,
    stop: int,
) -> list[Performance]:
    """Trade policies at equal size, each with the market's places; dollars of all instruments.

    Args:
        histories: of the instruments, at the same times.
        policies: of each the votes (K, 3) on every instrument at ``start`` <= t < ``stop``.
        rules: of decisions.
        start: the first bar.
        stop: the bar after the last.
    """
    voted = [
        [
            Voted(history, votes, equal_size(rules), start, stop)
            for history, votes in zip(histories, policy, strict=True)
        ]
        for policy in policies
    ]
    return [performance_of(results) for results in run_side_by_side(voted, PLACES)]


def evaluated_coupled(
    config: TacticalConfig,
    engine: LogitsEngine,
    scale: float,
    seed: int,
    bars: int,
    start: int,
    stop: int,
) -> dict[str, Any]:
    """Return the performance of actors at every temperature scale beside the oracle's.

    Args:
        config: rules and scales.
        engine: the actors.
        scale: the chosen one.
        seed: of the unseen market.
        bars: of it.
        start: the first bar that is traded.
        stop: the bar after the last.
    """
    histories, scales = coupled_histories(seed, bars), config.training.temperature_scales
    found = [logits_between(engine, history, start, stop) for history in histories]
    part = slice(start, stop)
    policies = [[votes.take(part) for votes in _oracle(seed, bars)]]
    policies += [[serving_votes(each, trial) for each in found] for trial in scales]
    oracle, *played = (
        each.document() for each in trade_coupled(histories, policies, config.rules, start, stop)
    )
    by_scale = {f"{trial:g}": each for trial, each in zip(scales, played, strict=True)}
    return {
        "scale": scale,
        "oracle": oracle,
        "policy": by_scale[f"{scale:g}"],
        "scales": by_scale,
    }
