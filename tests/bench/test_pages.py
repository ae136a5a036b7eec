"""What open pages cost, measured on a service without Ray."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rllib_tactical.bench.pages import page_rows
from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.features.table import FeatureTable
from tests.serve.conftest import bundle, request_at, table  # noqa: F401
from tests.serve.dashboard.scene import served

pytestmark = pytest.mark.slow


def test_decisions_are_measured_with_pages_and_without(
    bundle: Bundle,  # noqa: F811
    table: FeatureTable,  # noqa: F811
    tmp_path: Path,
) -> None:
    parts = {"override_params": {"seed": 0}}
    holds = [json.dumps(request_at(table, t, **parts)).encode() for t in range(310, 330)]
    said: list[str] = []
    with served(bundle, tmp_path, token_digest=None, admin_digest=None) as scene:
        rows = list(page_rows(scene.url, holds, 5, 2, said.append))
        pages = scene.cluster.apps[0]._hub._pages
        assert len(pages) <= 50
    assert said == ["50 open pages"]
    assert [row.name for row in rows] == [
        "decision p50 with 50 pages open",
        "decision p95 with 50 pages open",
        "page with all its files",
        "view of 600 bars and 100 decisions",
    ]
    assert all(row.measurement.median > 0.0 for row in rows)
    assert rows[2].met
