"""What a benchmark of the service sends: bodies of requests; and a bundle to decide with."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from rllib_tactical.bench.load import http_request
from rllib_tactical.bundle.bundle import Bundle, export_bundle
from rllib_tactical.config.service import PerformanceConfig
from rllib_tactical.data.calendar.bar_length import BAR_SECONDS
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.simulation.account import Account
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.domain.types import AGENTS, NUM_FEATURES, WINDOW, Float32Array
from serve.decision.decider import Decider
from serve.decision.risk_state import RiskState

SEED: Final = 1
HOST: Final = "127.0.0.1"
REPLAY: Final = "tactical_marl:\n  service:\n    live_bars: false\n    max_bar_age_s: 1.0e+9\n"
"""Configuration of a service whose bars are old."""

_SEED_FIELD: Final = b'"seed": 0'


def untrained_bundle(folder: Path, history: MarketHistory) -> Bundle:
    """Write a bundle with random weights that gives orders both ways, if no good ones."""
    import torch

    from rllib_tactical.bundle.networks import Actor, actor_weights

    weights: dict[str, Float32Array] = {}
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        for agent in AGENTS:
            actor = Actor((1.0,) * NUM_FEATURES, 1.0)
            torch.nn.init.normal_(actor.out.weight, std=3.0)
            if agent == "entry":
                torch.nn.init.constant_(actor.out.bias, -1.0)
                actor.out.bias.data[1] = 1.0  # execute
            weights |= actor_weights(agent, actor)
    return export_bundle(
        folder,
        weights=weights,
        rules=Rules(),
        instrument=replace(
            history.instrument, base_quantity=history.instrument.base_quantity or 1.0
        ),
        bar_seconds=BAR_SECONDS,
        temperature_scale=0.125,
        training={},
        metrics={},
    )


def matrix_body(history: MarketHistory, t: int) -> bytes:
    """Return a request with the window of bar ``t``; see ``numbered`` for its seed."""
    market = {
        "symbol": history.instrument.symbol,
        "current_price": float(history.features.close[t]),
        "atr_5min": float(history.features.atr[t]),
    }
    matrix = history.features.raw[t - WINDOW + 1 : t + 1].tolist()
    parts = {"matrix_state": matrix, "market_context": market, "override_params": {"seed": 0}}
    return json.dumps(parts).encode()


def symbol_body(history: MarketHistory) -> bytes:
    """Return a request that asks for a decision on the service's own bars."""
    parts = {"symbol": history.instrument.symbol, "override_params": {"seed": 0}}
    return json.dumps(parts).encode()


def bars_body(history: MarketHistory, first: int, stop: int) -> dict[str, Any]:
    """Return bars as they are sent to ``/bars``."""
    bars = history.bars
    rows = [
        {
            "timestamp": int(bars.timestamp_s[t]),
            **{
                name: float(getattr(bars, name)[t])
                for name in ("open", "high", "low", "close", "volume")
            },
        }
        for t in range(first, stop)
    ]
    return {"symbol": history.instrument.symbol, "bars": rows}


def split_by_order(bundle: Bundle, bodies: Sequence[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Return the bodies that a flat account is answered hold to, and those that get an order."""
    decider = Decider(bundle, PerformanceConfig())
    state = RiskState(Account.opened(bundle.rules.risk.initial_equity))
    holds: list[bytes] = []
    orders: list[bytes] = []
    for body in bodies:
        executes = decider.answer(body, state).answer.decision.execute
        (orders if executes else holds).append(body)
    return holds, orders


def numbered(bodies: Sequence[bytes], start: int = 0) -> Iterator[bytes]:
    """Yield requests to ``/decide`` forever, each with another seed: none is a repeat.

    A repeat has the id of its first decision, which the journal has already.
    """
    for number, body in enumerate(itertools.cycle(bodies), start):
        changed = body.replace(_SEED_FIELD, b'"seed": %d' % number)
        yield http_request("/decide", changed, HOST)
