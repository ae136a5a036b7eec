"""These tests start clusters of their own: no other Ray may run in the process beside them."""

from __future__ import annotations

import pytest

from rllib_tactical.data.files import write_bars
from rllib_tactical.data.markets import make_market
from rllib_tactical.rl.prepare import DataSource, TrainingMarket, prepare_market
from tests.cluster.runs import changed


@pytest.fixture(scope="package")
def market(tmp_path_factory: pytest.TempPathFactory) -> TrainingMarket:
    """Return a market of 6,000 bars."""
    made = make_market("momentum", 1, 6_000, 0.0)
    path = tmp_path_factory.mktemp("data") / "bars.parquet"
    write_bars(made.bars, path)
    return prepare_market([DataSource(path, made.instrument)], changed())
