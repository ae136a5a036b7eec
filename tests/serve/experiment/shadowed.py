"""A service with a challenger, and what is sent to it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np

from rllib_tactical.backtest.engine import bundle_votes, run_backtest
from rllib_tactical.backtest.result import BacktestResult
from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.data.calendar.sessions import sessions_of
from rllib_tactical.data.growing import as_of_its_last_bar
from rllib_tactical.domain.simulation.history import MarketHistory, build_history
from rllib_tactical.domain.types import Bars
from tests.serve.local import Cluster
from tests.serve.several import bundles_for
from tests.serve.writes import accepted, bar_at

BY_SYMBOL = {"market_context": {"symbol": "TEST"}}


def challenger_for(folder: Path) -> Bundle:
    """Return a bundle for the market of the fixture ``bundle`` that votes otherwise."""
    return bundles_for(folder / "challengers", ["TEST"])[0]


async def send(cluster: Cluster, bars: Bars, first: int, stop: int) -> None:
    """Send bars in one request."""
    body = {"symbol": "TEST", "bars": [bar_at(bars, t) for t in range(first, stop)]}
    await accepted(cluster, "/bars", body)


async def decide_on_each(cluster: Cluster, bars: Bars, first: int, stop: int) -> None:
    """Send bars one by one, and ask for a decision on each."""
    for t in range(first, stop):
        await send(cluster, bars, t, t + 1)
        await accepted(cluster, "/decide", BY_SYMBOL)


async def written(cluster: Cluster, decisions: int) -> None:
    """Return once so many decisions are in the journal."""
    _, journal = cluster.replica().stores
    while journal.version() < decisions:
        await asyncio.sleep(0.02)


def history_of(bundle: Bundle, bars: Bars) -> MarketHistory:
    instrument = bundle.instrument
    whole = build_history(bars, sessions_of(bars, instrument), instrument)
    return as_of_its_last_bar(whole, bundle.bar_seconds)


def backtest(bundle: Bundle, bars: Bars, start: int) -> BacktestResult:
    """Return the account of a bundle that decides on each bar from ``start`` on."""
    history = history_of(bundle, bars)
    votes = bundle_votes(bundle, history, np.arange(start, len(history)))
    return run_backtest(history, votes, bundle.rules, start, len(history))
