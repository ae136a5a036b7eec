from __future__ import annotations

import json

import pytest

from rllib_tactical.bench.market import MarketSize
from rllib_tactical.cli import bench as command

pytestmark = pytest.mark.slow

TINY = MarketSize(
    bars=1_200,
    sample_bars=250,
    memory_bars=2_000,
    accounts=4,
    steps=3,
    env_steps=5,
    repetitions=2,
)


def test_the_market_section_measures_every_row() -> None:
    said: list[str] = []
    rows = command.run_sections(("market",), said.append, {"market": TINY})["market"]
    names = [row.name for row in rows]
    assert names == [
        "batch features",
        "streaming update p50",
        "streaming update p99",
        "replay of 4",
        "replay of 4, network inputs",
        "PettingZoo environment",
        "table and views, 2,000 bars",
    ]
    assert all(row.measurement.median > 0 for row in rows)
    targets = {row.name: row.target for row in rows}
    assert targets["batch features"] == 1_000_000
    assert targets["PettingZoo environment"] == 5_000
    # a row of seven features, ATR, float32 inputs, the level's runs: about 100 bytes a bar
    assert rows[-1].measurement.median == pytest.approx(2_000 * 100 / 1e6, rel=0.5)
    assert said[0] == "market: making the market"
    json.dumps(command.as_document({"market": rows}))
