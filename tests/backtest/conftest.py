"""A bundle whose agents have opinions, and a backtest that trades."""

from __future__ import annotations

import numpy as np
import pytest

from rllib_tactical.backtest.comparison import Comparison, compare_votes
from rllib_tactical.bundle.bundle import Bundle, export_bundle
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.votes import constant_votes
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.domain.types import AGENTS, NUM_FEATURES
from tests.market import INSTRUMENT, random_history


@pytest.fixture(scope="session")
def history() -> MarketHistory:
    return random_history(2_000, seed=3)


@pytest.fixture(scope="session")
def bundle(history: MarketHistory, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return a bundle that trades both ways: fvg and momentum agree, entry executes."""
    import torch

    from rllib_tactical.bundle.networks import Actor, actor_weights

    weights = {}
    with torch.random.fork_rng():
        for agent in AGENTS:
            torch.manual_seed(5)
            actor = Actor((1.0,) * NUM_FEATURES, 1.0)
            torch.nn.init.normal_(actor.out.weight, std=6.0)
            if agent == "entry":
                torch.nn.init.zeros_(actor.out.weight)
                actor.out.bias.data = torch.tensor([0.0, 3.0, 0.0])
            else:  # every action is chosen on some bars
                with torch.no_grad():
                    logits = actor(torch.from_numpy(history.inputs.gather(np.arange(400, 900))))
                actor.out.bias.data = -logits.mean(dim=0)
            weights.update(actor_weights(agent, actor))
    return export_bundle(
        tmp_path_factory.mktemp("backtest") / "bundle",
        weights=weights,
        rules=Rules(),
        instrument=INSTRUMENT,
        bar_seconds=300,
        temperature_scale=0.25,
        training={"config": {"training": {"train_confidence": 1.0}}},
        metrics={},
    )


@pytest.fixture(scope="session")
def comparison(history: MarketHistory) -> Comparison:
    """Return an evaluation of random votes with all baselines."""
    start, stop = 500, 2_000
    index = np.random.default_rng(1).integers(0, 3, (stop - start, 3))
    return compare_votes(constant_votes(index, 0.9), history, Rules(), start, stop, label="Noise")
