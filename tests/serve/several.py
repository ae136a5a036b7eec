"""Bundles for several symbols, each with actors and a market of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rllib_tactical.bundle.bundle import Bundle, export_bundle
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.risk import RiskConfig
from rllib_tactical.domain.types import AGENTS, NUM_FEATURES, Bars, Instrument
from tests.serve.conftest import walk
from tests.serve.writes import bar_at

FREE = Rules(risk=RiskConfig(session_drawdown_limit=0.5))
"""An account of its own hardly stops with these."""


def names(count: int) -> list[str]:
    return [f"S{number}" for number in range(count)]


def bundles_for(folder: Path, symbols: list[str], rules: Rules = FREE) -> list[Bundle]:
    """Return a bundle for each symbol; the actors of no two are the same."""
    import torch

    from rllib_tactical.bundle.networks import Actor, actor_weights

    made = []
    for number, symbol in enumerate(symbols):
        with torch.random.fork_rng():
            torch.manual_seed(number)
            actors = [Actor((1 / NUM_FEATURES,) * NUM_FEATURES, 1.0) for _ in range(2)]
            for actor in actors:
                torch.nn.init.normal_(actor.out.weight, std=6.0)
        weights = {}
        for agent in AGENTS:
            weights.update(actor_weights(agent, actors[agent == "entry"]))
        made.append(
            export_bundle(
                folder / symbol,
                weights=weights,
                rules=rules,
                instrument=Instrument(symbol=symbol, tick_size=0.01, base_quantity=200.0),
                bar_seconds=300,
                temperature_scale=0.5,
                training={"data": {"size_from": {"kind": "instrument"}}},
                metrics={},
            )
        )
    return made


def market_of(symbol: str, length: int = 400) -> Bars:
    """Return the bars of a symbol: no two symbols have the same."""
    return walk(length, seed=100 + int(symbol[1:]))


def bars_of(symbol: str, first: int, stop: int) -> dict[str, Any]:
    bars = market_of(symbol, stop)
    return {"symbol": symbol, "bars": [bar_at(bars, t) for t in range(first, stop)]}


def level_bars(symbol: str, first_s: int, *closes: float) -> dict[str, Any]:
    """Return bars at given prices from a time on."""
    rows = [
        {
            "timestamp": first_s + 300 * i,
            "open": close,
            "high": close,
            "low": close,
            "close": close,
            "volume": 1.0,
        }
        for i, close in enumerate(closes)
    ]
    return {"symbol": symbol, "bars": rows}


def fill_of(symbol: str, number: int, side: str, quantity: float, price: float) -> dict[str, Any]:
    fill = {
        "fill_id": f"{symbol}-{number}",
        "side": side,
        "quantity": quantity,
        "price": price,
        "timestamp": 120_000 + number,
        "commission": 0.0,
    }
    return {"symbol": symbol, "fills": [fill]}
