"""What challengers cost, measured on services without Ray."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rllib_tactical.bench.challengers import CHALLENGERS, challenger_rows, challengers_of
from rllib_tactical.bundle.bundle import Bundle, load_bundle
from rllib_tactical.domain.features.table import FeatureTable
from serve.deploy.launch import load_challengers
from tests.serve.conftest import bundle, request_at, table  # noqa: F401
from tests.serve.dashboard.scene import served

pytestmark = pytest.mark.slow


def test_decisions_are_measured_with_challengers_and_without(
    bundle: Bundle,  # noqa: F811
    table: FeatureTable,  # noqa: F811
    tmp_path: Path,
) -> None:
    rivals = challengers_of(bundle, tmp_path)
    assert len(load_challengers(rivals, [load_bundle(bundle.path)])) == CHALLENGERS
    parts = {"override_params": {"seed": 0}}
    holds = [json.dumps(request_at(table, t, **parts)).encode() for t in range(310, 330)]
    said: list[str] = []
    with served(bundle, tmp_path, token_digest=None, admin_digest=None) as scene:
        rows = list(challenger_rows((scene.url, scene.url), holds, 5, 2, said.append))
    assert said == ["2 challengers"]
    assert [row.name for row in rows] == [
        "decision p50 with 2 challengers",
        "decision p95 with 2 challengers",
    ]
    for row in rows:
        alone = row.baselines[0].measurement
        assert alone is not None and alone.median > 0.0 and row.measurement.median > 0.0
