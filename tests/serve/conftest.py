"""A small bundle and windows of a random walk, shared by the service's tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rllib_tactical.bundle.bundle import Bundle, export_bundle
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.features.table import FeatureTable, compute_features
from rllib_tactical.domain.types import AGENTS, NUM_FEATURES, WINDOW, Bars, Instrument


def walk(length: int, seed: int) -> Bars:
    """Return random-walk bars with gaps large enough for fair value gaps to be born."""
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.002, length)))
    open_ = np.concatenate([close[:1], close[:-1]]) * (1.0 + rng.normal(0.0, 0.0003, length))
    spread = np.abs(rng.normal(0.0, 0.0004, (2, length)))
    return Bars(
        timestamp_s=np.arange(length, dtype=np.int64) * 300,
        open=open_,
        high=np.maximum(open_, close) * (1.0 + spread[0]),
        low=np.minimum(open_, close) * (1.0 - spread[1]),
        close=close,
        volume=rng.lognormal(8.0, 0.5, length),
    )


def request_at(table: FeatureTable, t: int, **parts: Any) -> dict[str, Any]:
    """Return a valid ``/decide`` request for bar ``t`` of ``table``."""
    return {
        "matrix_state": table.raw[t - WINDOW + 1 : t + 1].tolist(),
        "market_context": {
            "symbol": "TEST",
            "current_price": float(table.close[t]),
            "atr_5min": float(table.atr[t]),
        },
        **parts,
    }


@pytest.fixture(scope="session")
def table() -> FeatureTable:
    return compute_features(walk(600, seed=7))


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return a bundle whose agents have opinions: random weights, outputs scaled up.

    fvg and momentum share their weights, so that they agree and orders come about on both sides.
    """
    import torch

    from rllib_tactical.bundle.networks import Actor, actor_weights

    with torch.random.fork_rng():
        torch.manual_seed(7)
        actors = []
        for _ in range(2):
            actors.append(Actor((1 / NUM_FEATURES,) * NUM_FEATURES, 1.0))
            torch.nn.init.normal_(actors[-1].out.weight, std=6.0)
    weights = {}
    for agent in AGENTS:
        weights.update(actor_weights(agent, actors[agent == "entry"]))
    return export_bundle(
        tmp_path_factory.mktemp("serve") / "bundle",
        weights=weights,
        rules=Rules(),
        instrument=Instrument(symbol="TEST", tick_size=0.01, base_quantity=200.0),
        bar_seconds=300,
        temperature_scale=0.5,
        training={"data": {"size_from": {"kind": "instrument"}}},
        metrics={},
    )
