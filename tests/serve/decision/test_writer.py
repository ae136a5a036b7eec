"""A write is answered with what it changed, and with a refusal that tells nothing private."""

from __future__ import annotations

from pathlib import Path

from rllib_tactical.bundle.bundle import Bundle
from tests.serve.local import Cluster, Lost
from tests.serve.writes import accepted, bars_body, fill, fills_body, refused, with_service


def test_a_write_that_fails_is_a_503_without_the_store_s_words(
    bundle: Bundle, tmp_path: Path
) -> None:
    async def work(cluster: Cluster) -> None:
        with Lost(cluster.replica()._open.store, "append"):
            response = await cluster.post("/bars", bars_body(0, 5))
        error = response.json()["error"]
        assert (response.status_code, error["code"]) == (503, "state_unavailable")
        assert error["message"] == "the state cannot be written; try again"
        assert (await accepted(cluster, "/bars", bars_body(0, 5)))["accepted"] == 5
        assert (await accepted(cluster, "/bars", bars_body(0, 5)))["repeated"] == 5

    with_service(bundle, tmp_path, work, replicas=1)


def test_every_write_is_refused_for_a_symbol_that_is_not_served(
    bundle: Bundle, tmp_path: Path
) -> None:
    async def work(cluster: Cluster) -> None:
        for path, body in (
            ("/bars", bars_body(0, 5)),
            ("/fills", fills_body(fill(1, "BUY", 1.0, 100.0))),
            ("/account", {"request_id": "a", "by": "ann", "note": "none"}),
            ("/admin/override", {"action": "pause"}),
        ):
            other = await refused(cluster, path, body | {"symbol": "OTHER"})
            assert other == (422, "wrong_symbol", "symbol")
        assert cluster.machine().version == 1

    with_service(bundle, tmp_path, work, replicas=1)
