from __future__ import annotations

import pytest

from rllib_tactical.bench.evaluation import EvaluationSize
from rllib_tactical.cli import bench as command

TINY = EvaluationSize(network_bars=1_000, policy_bars=1_200, rival_bars=1_500, repetitions=1)


@pytest.mark.slow
def test_the_evaluation_section_measures_every_row() -> None:
    rows = command.run_sections(("evaluation",), lambda text: None, {"evaluation": TINY})
    found = {row.name: row for row in rows["evaluation"]}
    assert list(found) == [
        "1,000 bars, networks",
        "1,000 bars, networks, whole report",
        "1,200 bars, rules",
        "rules, one session",
        "rules, daily sessions",
    ]
    assert found["1,000 bars, networks"].target == 5.0
    assert found["1,200 bars, rules"].target == 2.0
    assert all(row.measurement.median > 0 for row in found.values())
