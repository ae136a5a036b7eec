from __future__ import annotations

import pytest

from rllib_tactical.bench.sweep import SweepSize, measure_sweep


@pytest.mark.ray
def test_the_sweep_section_measures_every_row(ray_instance: None) -> None:
    said: list[str] = []
    size = SweepSize(bars=4_000, trials=2, iterations=1, steps_per_update=256)
    rows = measure_sweep(size, said.append)
    assert [row.name for row in rows] == ["sweep of 2 trials", "copied to a node, 2 trials"]
    assert all(row.measurement.median > 0 for row in rows)
    assert rows[1].met, "bars reach a node once"
    assert len(said) == 3
