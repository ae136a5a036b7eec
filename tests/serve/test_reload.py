"""Another bundle while the service runs: all replicas or none."""

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
from serve.http.app import DecisionApp
from serve.replication.coordinator import COPIES
from tests.serve.conftest import request_at
from tests.serve.local import SERVICE, Cluster, LocalCoordinator, running
from tests.serve.writes import accepted, bars_body, refused, with_service


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
                assert answer["decision"]["reason"] != "state_stale"
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

    async def after_a_restart(cluster: Cluster) -> None:
        assert await deciding(cluster, table) == [second.bundle_id]

    with_service(bundle, tmp_path, work)
    with_service(bundle, tmp_path, after_a_restart, replicas=1)

    async def started_anew(cluster: Cluster) -> None:
        assert await deciding(cluster, table) == [bundle.bundle_id]

    with_service(bundle, tmp_path, started_anew, replicas=1, launch="second")


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
        late = DecisionApp(cluster.apps[0]._settings, LocalCoordinator(cluster.coordinator))
        await late.start()
        assert late._replica.active.decider.bundle.bundle_id == chosen
        await late.stop()
        shutil.rmtree(copies)
        missing = DecisionApp(cluster.apps[0]._settings, LocalCoordinator(cluster.coordinator))
        with pytest.raises(BundleError, match=f"{chosen[:12]} was chosen"):
            await missing.start()

    with_service(load_bundle(folder), tmp_path, begun, replicas=1)


@pytest.mark.parametrize("fails", [True, False])
def test_one_replica_that_cannot_load_it_keeps_all_on_the_old_one(
    bundle: Bundle,
    second: Bundle,
    table: FeatureTable,
    tmp_path: Path,
    fails: bool,
) -> None:
    async def work() -> None:
        service = replace(SERVICE, reload_timeout_s=0.5)
        async with running(bundle, tmp_path, 3, service) as cluster:

            def load(path: str, bundle_id: str) -> Any:
                if fails:
                    raise BundleError("the disk of this machine is damaged")
                time.sleep(1.5)
                raise BundleError("too late")

            cluster.apps[2]._replica._load = load
            response = await cluster.post("/admin/model", {"path": str(second.path)})
            message = response.json()["error"]["message"]
            assert response.status_code == 422
            assert (
                "disk of this machine" if fails else "of 3 replicas had not loaded it"
            ) in message
            assert await deciding(cluster, table) == [bundle.bundle_id] * 3
            # the state goes on being written and followed
            assert (await accepted(cluster, "/bars", bars_body(0, 3)))["accepted"] == 3
            assert await deciding(cluster, table) == [bundle.bundle_id] * 3

    asyncio.run(work())
