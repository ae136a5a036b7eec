"""Another bundle while the service runs, and after it was started again."""

from __future__ import annotations

import asyncio
import copy
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rllib_tactical.bundle.bundle import Bundle, export_bundle, load_bundle
from rllib_tactical.bundle.manifest import MANIFEST
from rllib_tactical.bundle.weights import WEIGHTS
from rllib_tactical.config.loader import content_hash
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.risk import RiskConfig
from rllib_tactical.domain.features.table import FeatureTable
from rllib_tactical.errors import BundleError
from serve.decision.promotion import COPIES
from serve.http.app import DecisionApp
from tests.serve.conftest import request_at
from tests.serve.local import SERVICE, Cluster, state_settings
from tests.serve.writes import accepted, bars_body, reasons, refused, with_service

pytestmark = pytest.mark.slow


def exported(bundle: Bundle, folder: Path, **changes: Any) -> Bundle:
    values: dict[str, Any] = {
        "weights": bundle.weights,
        "rules": bundle.rules,
        "instrument": bundle.instrument,
        "bar_seconds": bundle.bar_seconds,
        "temperature_scale": 1.0,
        "training": {},
        "metrics": {},
        **changes,
    }
    return export_bundle(folder, **values)


@pytest.fixture(scope="module")
def second(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    rules = Rules(risk=RiskConfig(max_leverage=4.0))
    return exported(bundle, tmp_path_factory.mktemp("second") / "bundle", rules=rules)


async def deciding(cluster: Cluster, table: FeatureTable) -> list[str]:
    """Return the bundle that each replica decides with."""
    found = []
    for replica in range(len(cluster.clients)):
        answer = await accepted(cluster, "/decide", request_at(table, 320), replica)
        shown = (await cluster.get("/model", replica)).json()
        assert shown["bundle_id"] == answer["bundle_id"]
        found.append(answer["bundle_id"])
    return found


def test_all_replicas_change_over_and_lose_nothing(
    bundle: Bundle, second: Bundle, table: FeatureTable, tmp_path: Path
) -> None:
    async def work(cluster: Cluster) -> None:
        stop, answered = False, 0

        async def load() -> None:
            nonlocal answered
            while not stop:
                answer = await accepted(cluster, "/decide", request_at(table, 320), answered % 3)
                assert answer["source"] == "policy"
                assert answer["decision"]["reason"] not in ("state_unavailable", "model_loading")
                answered += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(load())
        found = await accepted(cluster, "/admin/model", {"path": str(second.path)}, 1)
        assert (found["bundle_id"], found["previous"]) == (second.bundle_id, bundle.bundle_id)
        assert await deciding(cluster, table) == [second.bundle_id] * 3
        again = await accepted(cluster, "/admin/model", {"path": str(second.path)})
        assert again["version"] == found["version"]
        stop = True
        await task
        assert answered > 20

    async def still_promoted(cluster: Cluster) -> None:
        assert await deciding(cluster, table) == [second.bundle_id]

    with_service(bundle, tmp_path, work)
    with_service(bundle, tmp_path, still_promoted, replicas=1)
    with_service(bundle, tmp_path, still_promoted, replicas=1)

    async def started_with_another(cluster: Cluster) -> None:
        assert await deciding(cluster, table) == [third.bundle_id]

    third = exported(bundle, tmp_path / "third", temperature_scale=2.0)
    with_service(third, tmp_path, started_with_another, replicas=1)

    async def started_as_at_first(cluster: Cluster) -> None:
        assert await deciding(cluster, table) == [bundle.bundle_id]

    with_service(bundle, tmp_path, started_as_at_first, replicas=1)


def altered(bundle: Bundle, folder: Path, **changes: Any) -> Path:
    """Return a copy whose manifest says something else and whose id says that this is right."""
    shutil.copytree(bundle.path, folder)
    manifest = json.loads((folder / MANIFEST).read_text()) | changes
    manifest["bundle_id"] = content_hash({k: v for k, v in manifest.items() if k != "bundle_id"})
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder


def test_a_bundle_that_is_refused_leaves_the_old_one(
    bundle: Bundle, second: Bundle, table: FeatureTable, tmp_path: Path
) -> None:
    corrupt = tmp_path / "corrupt"
    shutil.copytree(second.path, corrupt)
    weights = corrupt / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    rules = copy.deepcopy(bundle.manifest["rules"])
    rules["aggregation"]["execution_threshold"] = 0.5
    other = replace(bundle.instrument, symbol="OTHER")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    cases = [
        (tmp_path / "nothing", "no bundle here"),
        ("\0", "no bundle here"),
        ("a" * 300, "no bundle here"),
        (tmp_path / "circle", "no bundle here"),
        (corrupt, "hash mismatch"),
        (altered(bundle, tmp_path / "a", feature_hash="0" * 64), "made for other features"),
        (altered(bundle, tmp_path / "b", rules_hash="0" * 64), "rules hash does not match"),
        (altered(bundle, tmp_path / "c", rules=rules), "rules hash does not match"),
        (exported(bundle, tmp_path / "d", instrument=other).path, "for another market: symbol"),
        (exported(bundle, tmp_path / "e", bar_seconds=60).path, "bars of 60 s instead of 300"),
    ]

    async def work(cluster: Cluster) -> None:
        for path, message in cases:
            response = await cluster.post("/admin/model", {"path": str(path)})
            error = response.json()["error"]
            assert (response.status_code, error["code"]) == (422, "bundle_refused")
            assert message in error["message"]
        named = {"path": str(second.path), "bundle_id": "0" * 64}
        assert (await refused(cluster, "/admin/model", named))[2] == "bundle_id"
        assert await deciding(cluster, table) == [bundle.bundle_id] * 2

    with_service(bundle, tmp_path, work, replicas=2)


def test_a_replica_that_starts_after_the_folder_was_written_again_loads_what_was_chosen(
    bundle: Bundle, second: Bundle, table: FeatureTable, tmp_path: Path
) -> None:
    folder = tmp_path / "bundle"
    exported(bundle, folder)
    chosen = load_bundle(folder).bundle_id

    async def begun(cluster: Cluster) -> None:
        copies = tmp_path / "state" / COPIES
        assert [path.name for path in copies.iterdir()] == [chosen]
        await accepted(cluster, "/admin/model", {"path": str(second.path)})
        await accepted(cluster, "/admin/model", {"path": str(folder)})
        shutil.rmtree(folder)
        shutil.copytree(second.path, folder)
        state = state_settings(load_bundle(second.path), tmp_path / "state")
        state = replace(state, models=(cluster.machine().of().model,))
        late = DecisionApp(cluster.apps[0]._settings, state)
        await late.start()
        assert late._replica.active().decider.bundle.bundle_id == chosen
        await late.stop()
        shutil.rmtree(copies)
        missing = DecisionApp(cluster.apps[0]._settings, state)
        with pytest.raises(BundleError, match=f"{chosen[:12]} was chosen"):
            await missing.start()
        await missing.stop()

    with_service(load_bundle(folder), tmp_path, begun, replicas=1)


def test_a_bundle_that_takes_too_long_is_refused(
    bundle: Bundle, second: Bundle, table: FeatureTable, tmp_path: Path
) -> None:
    async def work(cluster: Cluster) -> None:
        load = cluster.replica()._of("TEST")._load

        def late(path: str, bundle_id: str) -> Any:
            time.sleep(1.0)
            return load(path, bundle_id)

        cluster.replica()._of("TEST")._load = late
        response = await cluster.post("/admin/model", {"path": str(second.path)})
        assert response.status_code == 422
        assert "it was not loaded after 0.2 s" in response.json()["error"]["message"]
        assert await deciding(cluster, table) == [bundle.bundle_id]
        assert (await accepted(cluster, "/bars", bars_body(0, 3)))["accepted"] == 3

    with_service(bundle, tmp_path, work, 1, service=replace(SERVICE, reload_timeout_s=0.2))


def test_a_replica_that_cannot_load_the_chosen_bundle_holds_until_it_can(
    bundle: Bundle, second: Bundle, table: FeatureTable, tmp_path: Path
) -> None:
    async def work(cluster: Cluster) -> None:
        replica = cluster.replica(1)._of("TEST")
        load = replica._load

        def fail(path: str, bundle_id: str) -> Any:
            raise BundleError("the disk of this machine is damaged")

        replica._load = fail
        await accepted(cluster, "/admin/model", {"path": str(second.path)})
        assert (await reasons(cluster, table))[1] == "model_loading"
        ready = await cluster.get("/ready", 1)
        assert (ready.status_code, ready.json()["error"]["code"]) == (503, "model_loading")
        assert (await cluster.get("/ready", 0)).status_code == 200
        assert replica.load_failures >= 1
        replica._load = load
        deadline = time.monotonic() + 30.0
        while (await reasons(cluster, table))[1] == "model_loading":
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        assert await deciding(cluster, table) == [second.bundle_id] * 2

    with_service(bundle, tmp_path, work, replicas=2)
