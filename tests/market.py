"""Markets for tests: random-walk bars with sessions, and what is built from them."""

from __future__ import annotations

import numpy as np

from envs.market import MarketPart, MarketSpec
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.simulation.episodes import EpisodeConfig
from rllib_tactical.domain.simulation.history import MarketHistory, Split, build_history
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.types import Bars, Instrument, Sessions

SESSION_BARS = 78
INSTRUMENT = Instrument(
    symbol="TEST",
    tick_size=0.01,
    base_quantity=400.0,
    commission_per_lot=0.005,
    half_spread_ticks=0.5,
    slippage_ticks=0.5,
)


def random_bars(count: int, seed: int = 0) -> Bars:
    """Return a random walk with fat tails, gaps and uneven volume, on the tick."""
    rng = np.random.default_rng(seed)
    close = 100 + np.cumsum(rng.standard_t(4, count) * 0.12)
    open_ = np.r_[100.0, close[:-1]] + rng.normal(0, 0.03, count)
    high = np.maximum(open_, close) + rng.exponential(0.06, count)
    low = np.minimum(open_, close) - rng.exponential(0.06, count)
    volume = np.round(rng.lognormal(8, 0.7, count))
    timestamp_s = 1_700_000_100 // 300 * 300 + 300 * np.arange(count)
    columns = [np.round(prices, 2) for prices in (open_, high, low, close)] + [volume]
    return Bars(timestamp_s, *columns)


def sessions_of_length(count: int, bars: int = SESSION_BARS) -> Sessions:
    """Return sessions of a fixed number of bars."""
    place = np.arange(count) % bars
    last = place == bars - 1
    last[-1] = True
    return Sessions.without_gaps(np.arange(count) // bars, place == 0, last, (place + 1) / bars)


def random_history(count: int = 1_500, seed: int = 0) -> MarketHistory:
    """Return a market history of random bars."""
    return build_history(random_bars(count, seed), sessions_of_length(count), INSTRUMENT)


def random_spec(count: int = 1_500, seed: int = 0, length: int = 64) -> MarketSpec:
    """Return a market spec whose episodes cover the whole market history."""
    return MarketSpec(
        parts=(MarketPart(random_history(count, seed), Split("train", 0, count)),),
        rules=Rules(),
        rewards=RewardConfig(),
        episodes=EpisodeConfig(length=length),
        train_confidence=0.9,
    )
