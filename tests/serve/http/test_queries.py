"""The answers to GET."""

from __future__ import annotations

from copy import copy
from functools import partial
from pathlib import Path

import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.config.loader import to_dict
from rllib_tactical.config.service import LatencyTargets
from serve.observability.resources import Resources
from tests.serve.local import SERVICE, Cluster
from tests.serve.several import bundles_for, names
from tests.serve.writes import (
    with_service,
)


def test_a_strict_question_for_health_is_answered_with_a_status(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(cluster: Cluster) -> None:
        for busy, expected in ((10.0, 200), (96.0, 503)):
            found = Resources(busy, 1.0, 1.0)
            monkeypatch.setattr(cluster.apps[0]._queries._probe, "read", partial(copy, found))
            for query, status in (("", 200), ("?strict=0", 200), ("?strict=1", expected)):
                answer = await cluster.get(f"/health{query}")
                assert answer.status_code == status
                assert answer.json()["components"]["resources"]["cpu_percent"] == busy
        for query in ("strict=2", "strict=yes", "strict=1&strict=1", "lenient=1"):
            assert (await cluster.get(f"/health?{query}")).status_code == 422

    with_service(bundle, tmp_path, work, replicas=1)


def test_it_is_not_ready_once_no_write_has_succeeded_for_a_lease(
    bundle: Bundle, tmp_path: Path
) -> None:
    async def work(cluster: Cluster) -> None:
        assert (await cluster.get("/ready")).json() == {"status": "ready"}
        cluster.replica().availability._written_at -= SERVICE.lease_s
        assert await refused_get(cluster, "/ready") == (503, "state_unavailable")
        assert (await cluster.get("/live")).status_code == 200

    with_service(bundle, tmp_path, work, replicas=1)


async def refused_get(cluster: Cluster, path: str) -> tuple[int, str]:
    response = await cluster.get(path)
    return response.status_code, response.json()["error"]["code"]


def test_the_model_is_shown_with_the_targets_and_nothing_private(
    bundle: Bundle, tmp_path: Path
) -> None:
    async def work(cluster: Cluster) -> None:
        shown = (await cluster.get("/model")).json()
        assert shown["bundle_id"] == bundle.bundle_id
        assert shown["performance"]["latency_targets"] == to_dict(LatencyTargets())
        assert {"training", "files", "probe"} == set(bundle.manifest) - set(shown)

    with_service(bundle, tmp_path, work, replicas=1)


@pytest.mark.slow
def test_of_several_symbols_a_query_names_one(tmp_path: Path) -> None:
    bundles = bundles_for(tmp_path / "bundles", names(3))

    async def work(cluster: Cluster) -> None:
        for path in ("/performance", "/model"):
            missing = (await cluster.get(path)).json()["error"]
            assert missing["code"] == "missing_field"
            assert missing["message"] == "symbol: is required, one of 'S0', 'S1', 'S2'"
            other = (await cluster.get(f"{path}?symbol=X")).json()["error"]
            assert (other["code"], other["details"]["field"]) == ("wrong_symbol", "symbol")
        for bundle in bundles:
            symbol = bundle.instrument.symbol
            found = (await cluster.get(f"/model?symbol={symbol}")).json()
            assert found["bundle_id"] == bundle.bundle_id

    with_service(bundles, tmp_path, work, replicas=1)
