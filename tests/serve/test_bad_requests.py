"""Whatever is sent, the answer is a 4xx that says what is wrong."""

from __future__ import annotations

import asyncio
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from rllib_tactical.bench.bad_requests import bad_requests
from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.features.table import FeatureTable
from tests.serve.conftest import request_at
from tests.serve.local import running
from tests.serve.writes import bars_body, fill, fills_body

pytestmark = pytest.mark.slow

COUNT = 3_000


def good_bodies(table: FeatureTable) -> dict[str, dict[str, Any]]:
    return {
        "/decide": request_at(
            table, 320, synergy_context={"synergy_type": "TYPE_1", "direction": 1, "confidence": 1}
        ),
        "/bars": bars_body(0, 3),
        "/fills": fills_body(fill(1, "BUY", 1.0, 100.0)),
        "/admin/override": {"action": "pause", "request_id": "a"},
        "/admin/model": {"path": "nowhere"},
    }


def test_generated_bad_requests_are_refused(
    bundle: Bundle, table: FeatureTable, tmp_path: Path
) -> None:
    async def work() -> None:
        async with running(bundle, tmp_path) as cluster:
            before = cluster.machine().version
            statuses = set()
            for path, body in islice(bad_requests(good_bodies(table), 1), COUNT):
                response = await cluster.clients[0].post(path, content=body)
                assert 400 <= response.status_code < 500, (path, body[:200], response.text)
                error = response.json()["error"]
                statuses.add(response.status_code)
                if response.status_code in (409, 422):
                    assert error["details"]["field"], (path, body[:200], error)
            assert cluster.machine().version == before
            assert {400, 413, 422} <= statuses

    asyncio.run(work())
