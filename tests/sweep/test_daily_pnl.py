from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from envs.market import MarketPart, MarketSpec
from rllib_tactical.backtest.engine import run_backtest
from rllib_tactical.bundle.inference import TorchEngine, logits_of
from rllib_tactical.bundle.networks import Standardization
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.domain.decision.votes import greedy_votes, softmax
from rllib_tactical.domain.simulation.history import split_history
from rllib_tactical.rl.training.market import PreparedPart, TrainingMarket
from rllib_tactical.sweep.daily_pnl import daily_table
from tests.market import random_history
from tests.sweep.actors import opinionated_actors

CONFIG = dataclasses.replace(
    TacticalConfig(),
    training=dataclasses.replace(TacticalConfig().training, temperature_scales=(1.0, 0.02)),
)


def market_of(parts: int) -> TrainingMarket:
    history = random_history(1_600, seed=4)
    splits = split_history(len(history), (0.45, 0.55, 0.0))
    spec = MarketSpec.from_config(CONFIG, (MarketPart(history, splits[0]),) * parts)
    prepared = (PreparedPart(history, splits, {}),) * parts
    return TrainingMarket(spec, prepared, Standardization.identity())


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return daily_table(opinionated_actors(), CONFIG, market_of(1))


def test_each_scale_has_a_column_that_sums_to_its_backtest(table: pd.DataFrame) -> None:
    assert list(table.columns) == ["1", "0.02"]
    part = market_of(1).parts[0]
    validation = part.splits[1]
    logits = logits_of(
        TorchEngine(opinionated_actors()),
        part.history.inputs,
        np.arange(validation.start, validation.stop),
    )
    for scale in (1.0, 0.02):
        votes = greedy_votes(softmax(logits, scale))
        result = run_backtest(part.history, votes, CONFIG.rules, validation.start, validation.stop)
        # days do not know a fill on the very last bar's close otherwise than the account does
        assert table[f"{scale:g}"].sum() == pytest.approx(result.net_pnl, abs=0.01)
    assert (table["0.02"] != 0.0).any()


def test_instruments_are_summed_by_day(table: pd.DataFrame) -> None:
    both = daily_table(opinionated_actors(), CONFIG, market_of(2))
    pd.testing.assert_frame_equal(both, 2.0 * table)
    assert table.index.is_unique
