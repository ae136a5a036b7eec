"""Random markets, votes and rules under which every kind of exit and refusal occurs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from rllib_tactical.domain.decision.aggregation import AggregationConfig
from rllib_tactical.domain.decision.orders import OrderConfig
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.risk import RiskConfig
from rllib_tactical.domain.decision.votes import Votes
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.domain.types import Instrument, Sessions
from tests.domain.builders import (
    COIN,
    FREE,
    FUTURE,
    SHARE,
    history_of,
    random_bars,
    random_sessions,
)
from tests.domain.simulation.plays import HOLD

LARGE = dataclasses.replace(FUTURE, base_quantity=40.0, point_value=10.0)  # risk limits bind
PERPETUAL = dataclasses.replace(
    COIN, base_quantity=50.0, commission_per_lot=-12.0, funding_rate=0.002, funding_hours=1
)
MARKETS = [FREE, FUTURE, SHARE, COIN, LARGE, PERPETUAL]
RULES = {
    "default": Rules(),
    "bold": Rules(
        aggregation=AggregationConfig(execution_threshold=0.5, entry_veto=False),
        risk=RiskConfig(max_leverage=30.0, initial_equity=20_000.0),
    ),
    "poor": Rules(risk=RiskConfig(max_leverage=7.0, initial_equity=6_000.0)),
    "patient": Rules(
        orders=OrderConfig(stop_atr=6.0, target_atr=20.0), risk=RiskConfig(max_leverage=1_000.0)
    ),
    # levels below zero and lost accounts
    "reckless": Rules(
        orders=OrderConfig(stop_atr=9.0, target_atr=300.0),
        risk=RiskConfig(
            max_risk_per_trade=1.0,
            session_drawdown_limit=1.0,
            drawdown_share_per_trade=1.0,
            max_leverage=1_000.0,
        ),
    ),
}


def random_history(
    seed: int,
    instrument: Instrument,
    length: int = 150,
    longest: int = 40,
    sessions: Callable[[np.random.Generator, int, int], Sessions] = random_sessions,
) -> MarketHistory:
    """Return a market of random bars and sessions on the instrument's tick grid."""
    rng = np.random.default_rng(seed)
    tick, start = {
        "FREE": (0.25, 4096.0),
        "FUTURE": (0.25, 4096.0),
        "SHARE": (0.01, 40.0),
        "COIN": (0.1, 60_000.0),
    }[instrument.symbol]
    volatility = {"COIN": 900.0, "SHARE": 8.0}.get(instrument.symbol, 6.0)
    bars = random_bars(rng, length, tick, start, jump=20 * volatility, volatility=volatility)
    return history_of(bars, sessions(rng, length, longest), instrument)


def random_votes(rng: np.random.Generator, count: int) -> Votes:
    """Return votes that agree often enough to trade, in the confidences of training and of use."""
    lean = rng.choice([0, 2], (count, 1))
    index = np.where(rng.random((count, 3)) < 0.75, lean, rng.integers(0, 3, (count, 3)))
    index[:, 2] = rng.choice([0, 1, 1, 2], count)
    index[rng.random(count) < 0.4] = HOLD  # lets trades live long enough to end in every way
    confidence = np.where(rng.random((count, 1)) < 0.5, 0.9, rng.uniform(0.5, 1.0, (count, 3)))
    return Votes(index, confidence)
