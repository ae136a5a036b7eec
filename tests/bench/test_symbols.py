"""The memory of ten symbols is measured with real services, in one run."""

from __future__ import annotations

from pathlib import Path

import pytest

from rllib_tactical.bench import symbols
from rllib_tactical.bench.requests import untrained_bundle
from rllib_tactical.synthetic import make_market

pytestmark = [pytest.mark.serve, pytest.mark.ray, pytest.mark.slow]


def test_ten_symbols_are_measured_beside_one(tmp_path: Path) -> None:
    history = make_market("momentum", 1, 1_200).history()
    bundle = untrained_bundle(tmp_path / "bundle", history)
    config = tmp_path / "service.yaml"
    config.write_text("tactical_marl: {service: {live_bars: false, lease_s: 20.0}}")
    said: list[str] = []
    service, replica = symbols.symbol_rows(bundle, history, tmp_path, config, said.append)
    assert said == ["memory with 1 symbol", "memory with 10 symbols"]
    for row in (service, replica):
        one = row.baselines[0].measurement
        assert one is not None
        assert row.measurement.median > one.median > 50.0
    ratio = service.ratio(service.baselines[0])
    assert ratio is not None
    assert ratio > 1.0 / symbols.TARGET
