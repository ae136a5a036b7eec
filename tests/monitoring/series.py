"""Stable, autocorrelated series of inputs, decisions and trades, and planted changes of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from rllib_tactical.domain.types import FloatArray
from rllib_tactical.monitoring.observations import INPUTS, Observations

BARS = 24
"""Bars of a session."""


def autocorrelated(
    rng: np.random.Generator, sessions: int, edge: float = 0.15, cost: float = 1.0
) -> Observations:
    """Return sessions whose levels and volatilities resemble those of the sessions before.

    Bars follow an AR(1) of 0.8 around the session's level, an AR(1) of 0.5, with a volatility whose
    logarithm is one of 0.7. Votes follow the inputs; about three trades in a session, won with
    probability (1 + ``edge``) / 2, less in some sessions than in others. ``cost`` multiplies the
    slippage.
    """
    level = 0.3 * _ar(rng, sessions, 0.5)
    volatility = np.exp(0.25 * _ar(rng, sessions, 0.7))
    noise = np.stack([_ar(rng, sessions * BARS, 0.8) for _ in INPUTS], axis=1)
    session = np.repeat(np.arange(sessions), BARS)
    inputs = level[session, None] + volatility[session, None] * noise
    inputs[:, :2] = inputs[:, :2] > 1.0  # as the columns of active gaps
    votes = np.sign(np.where(np.abs(noise[:, 2:5]) > 0.5, noise[:, 2:5], 0.0)).astype(np.int64)
    confidence = 1.0 / (1.0 + np.exp(-1.0 - 0.5 * inputs[:, 5]))
    trades = np.repeat(np.arange(sessions), 1 + rng.poisson(2.0, sessions))
    luck = np.clip(0.5 * (1.0 + edge) + 0.05 * _ar(rng, sessions, 0.5)[trades], 0.05, 0.95)
    won = rng.random(len(trades)) < luck
    slippage = 1e-4 * cost * rng.gamma(4.0, 0.25, len(trades))
    size = 100.0 * volatility[trades] * rng.gamma(4.0, 0.25, len(trades))
    return Observations(
        bar_session=session,
        inputs=inputs,
        decision_session=session,
        confidence=confidence,
        votes=votes,
        trade_session=trades,
        pnl=size * (np.where(won, 1.0, -1.0) - 2e3 * slippage),
        score=rng.uniform(0.5, 0.7, len(trades)),
        right=won.astype(np.float64),
        slippage=slippage,
    )


def part(found: Observations, start: int, stop: int) -> Observations:
    """Return the sessions start <= s < stop."""

    def rows(name: str) -> dict[str, Any]:
        session = getattr(found, f"{name}_session")
        kept = (session >= start) & (session < stop)
        of_bars = ("bar_session", "inputs")
        of_decisions = ("decision_session", "confidence", "votes")
        of_trades = ("trade_session", "pnl", "score", "right", "slippage")
        names = {"bar": of_bars, "decision": of_decisions, "trade": of_trades}[name]
        return {field: getattr(found, field)[kept] for field in names}

    return Observations(**rows("bar"), **rows("decision"), **rows("trade"))


def moved(found: Observations, mean: float = 0.0, spread: float = 1.0) -> Observations:
    """Return the observations with other inputs: ``spread`` times as far from 0, ``mean`` more."""
    inputs = found.inputs.copy()
    inputs[:, 2:] = spread * inputs[:, 2:] + mean
    return dataclasses.replace(found, inputs=inputs)


def _ar(rng: np.random.Generator, count: int, phi: float) -> FloatArray:
    """Return an AR(1) with unit variance."""
    shocks = np.sqrt(1.0 - phi * phi) * rng.standard_normal(count)
    out = np.empty(count)
    out[0] = rng.standard_normal()
    for t in range(1, count):
        out[t] = phi * out[t - 1] + shocks[t]
    return out
