"""The coupled market: four instruments on one clock that share one place for a position.

Two have signals that pay soon, the other two signals that pay late and less. A slow trade holds the
place for some thirty bars, in which several quick ones would have been over: whoever takes every
signal misses better ones.

The oracle has a price for each bar in the place: a share of what the other instruments earn per bar
on their own. Each instrument's policy is the best one, by dynamic programming, against its price.
The share is the one that earns most on a reference market of other seeds; with 0 every instrument
is traded as if it had a place for itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.votes import Votes
from rllib_tactical.domain.simulation.history import EMBARGO_BARS, MarketHistory
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.simulation.simulator import Simulator
from rllib_tactical.domain.simulation.together import step_together
from rllib_tactical.domain.simulation.transition import Step
from rllib_tactical.synthetic.dynamic import REFERENCE_SEED, Plan, best_plan, plan_votes
from rllib_tactical.synthetic.generate import SyntheticMarket, make_from_parameters
from rllib_tactical.synthetic.parameters import SESSION_BARS, MarketParameters

COUPLED: Final = "coupled"
PLACES: Final = 1
"""Positions that may be open at a time."""

SLOW: Final = MarketParameters(family="gap", edge=200.0, cost_share=0.05, signals=6.0, slow=60)
QUICK: Final = MarketParameters(family="momentum", edge=320.0, cost_share=0.03, signals=6.0)
INSTRUMENTS: Final = (SLOW, SLOW, QUICK, QUICK)
REFERENCE_BARS: Final = 200_000
SEEDS_APART: Final = 100_000
REFERENCE_SESSIONS: Final = 60
PRICE_SHARES: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Prices that are tried, as shares of what the other instruments earn per bar on their own."""


def make_coupled(seed: int, bars: int) -> tuple[SyntheticMarket, ...]:
    """Return the instruments SYNTH1 to SYNTH4, ``bars`` bars each at the same times.

    Raises:
        UsageError: seed or bars out of range.
    """
    made = []
    for k, parameters in enumerate(INSTRUMENTS):
        market = make_from_parameters(
            parameters, seed + SEEDS_APART * k, bars, f"{COUPLED}-{k + 1}"
        )
        instrument = dataclasses.replace(market.instrument, symbol=f"SYNTH{k + 1}")
        made.append(dataclasses.replace(market, instrument=instrument))
    return tuple(made)


@lru_cache(maxsize=4)
def coupled_plans() -> tuple[Plan, ...]:
    """Return the policy of each instrument, against the price that is best on a reference."""
    alone = [best_plan(each, 0.0, REFERENCE_BARS) for each in INSTRUMENTS]
    whole = sum(plan.gain for plan in alone)
    made = make_coupled(REFERENCE_SEED, EMBARGO_BARS + (REFERENCE_SESSIONS + 1) * SESSION_BARS)
    histories = tuple(market.history() for market in made)
    best, earned = tuple(alone), -np.inf
    for share in PRICE_SHARES:
        plans = tuple(
            best_plan(each, share * (whole - plan.gain), REFERENCE_BARS)
            for each, plan in zip(INSTRUMENTS, alone, strict=True)
        )
        votes = [plan_votes(*pair) for pair in zip(plans, histories, strict=True)]
        found = coupled_results(histories, votes, PLACES)
        if found.net > earned:
            best, earned = plans, found.net
    return best


@dataclass(frozen=True, slots=True)
class Earned:
    """All instruments together by session: net dollars with their standard error, and trades."""

    net: float
    error: float
    trades: float
    sessions: int


def coupled_results(
    histories: tuple[MarketHistory, ...], votes: Sequence[Votes], places: int
) -> Earned:
    """Trade votes (T, 3) of each instrument by the default rules, over whole sessions.

    Args:
        histories: of the instruments, at the same times.
        votes: at every bar of each.
        places: positions that may be open at a time, all instruments together.
    """
    history = histories[0]
    starts = np.flatnonzero(history.sessions.is_first)
    starts = starts[starts >= history.first_decision]
    sessions = (len(history) - int(starts[0])) // SESSION_BARS if len(starts) else 0
    if not sessions:
        return Earned(0.0, 0.0, 0.0, 0)
    first, stop = int(starts[0]), int(starts[0]) + sessions * SESSION_BARS
    simulators = []
    for each in histories:
        simulator = Simulator(each, Rules(), RewardConfig(), 1)
        simulator.reset(np.zeros(1, dtype=np.int64), np.array([first]))
        simulators.append(simulator)
    pnl, trades = np.zeros(stop - first), 0

    def report(k: int, row: int, step: Step) -> None:
        nonlocal trades
        pnl[row] += step.equity_change[0]
        trades += int(step.exited[0])

    step_together(simulators, [each.take(slice(first, stop)) for each in votes], places, report)
    by_session = pnl.reshape(sessions, SESSION_BARS).sum(axis=1)
    error = float(by_session.std(ddof=1) / np.sqrt(sessions)) if sessions > 1 else 0.0
    return Earned(float(by_session.mean()), error, trades / sessions, sessions)


def coupled_oracle(histories: tuple[MarketHistory, ...]) -> list[Votes]:
    """Return the votes (T, 3) of the oracle on each instrument, all of confidence 1."""
    plans = coupled_plans()
    return [plan_votes(plan, history) for plan, history in zip(plans, histories, strict=True)]


def oracles_alone(histories: tuple[MarketHistory, ...]) -> list[Votes]:
    """Return the votes (T, 3) of each instrument's own oracle, which shares no place."""
    return [
        plan_votes(best_plan(each, 0.0, REFERENCE_BARS), history)
        for each, history in zip(INSTRUMENTS, histories, strict=True)
    ]
