"""A promoted bundle that breaks its limits: the one before decides again, by itself."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.bundle.registry import Registry
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.risk import RiskConfig
from rllib_tactical.domain.features.table import FeatureTable
from serve.state.records import AUTOMATIC
from tests.serve.decision.test_promotion import deciding, exported
from tests.serve.local import SERVICE, Cluster
from tests.serve.observability.test_gauges import samples
from tests.serve.writes import BARS, accepted, bars_body, fill, fills_body, with_service

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def second(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    rules = Rules(risk=RiskConfig(max_leverage=4.0))
    return exported(bundle, tmp_path_factory.mktemp("second") / "bundle", rules=rules)


async def lose(cluster: Cluster) -> None:
    """Buy high and sell low: with the next bar the session is halted."""
    price, now = float(BARS.close[399]), int(BARS.timestamp_s[400])
    bought = fill(1, "BUY", 200.0, price, timestamp=now)
    sold = fill(2, "SELL", 200.0, price - 20.0, timestamp=now)
    await accepted(cluster, "/fills", fills_body(bought, sold))
    await accepted(cluster, "/bars", bars_body(400, 401))
    assert cluster.machine().of().account.halted


async def decided_by(cluster: Cluster, bundle_id: str) -> None:
    """Wait until every replica has another bundle."""
    for _ in range(200):
        cluster.replica().active()
        if cluster.machine().of().model.bundle_id == bundle_id:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the bundle was not chosen")


async def alerts(cluster: Cluster) -> list[str]:
    found = (await cluster.get("/health")).json()["alerts"]
    return [each["message"] for each in found if each["code"] == "rolled_back"]


def test_the_former_bundle_decides_again_once_and_says_why(
    bundle: Bundle, second: Bundle, table: FeatureTable, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(bundle.path, tmp_path / "first"))
    first = replace(bundle, path=folder)

    async def work(cluster: Cluster) -> None:
        await accepted(cluster, "/bars", bars_body(0, 400))
        await accepted(cluster, "/admin/model", {"path": str(second.path)})
        assert await deciding(cluster, table) == [second.bundle_id] * 2
        assert await alerts(cluster) == []
        shutil.rmtree(folder)  # there is a copy of it beside the state
        await lose(cluster)
        await decided_by(cluster, bundle.bundle_id)
        assert await deciding(cluster, table) == [bundle.bundle_id] * 2
        model = cluster.machine().of().model
        assert (model.by, Path(model.path).name) == (AUTOMATIC, bundle.bundle_id)
        reason = "its session drawdown limit halted trading in session 1 of its probation"
        text = f"bundle {bundle.bundle_id[:12]} decides again instead of the promoted one: {reason}"
        assert await alerts(cluster) == [text]
        metrics = samples((await cluster.get("/metrics")).text)
        assert metrics["tactical_alert", (("code", "rolled_back"), ("symbol", "TEST"))] == 1.0
        entry = (await cluster.get("/admin/audit")).json()["entries"][-1]
        assert (entry["kind"], entry["what"], entry["by"]) == ("model", "rollback", AUTOMATIC)
        assert entry["note"] == reason
        version = cluster.machine().version
        await asyncio.sleep(0.5)  # neither replica does it again
        assert cluster.machine().version == version
        # another choice ends the alert; in a halted session nothing is rolled back
        await accepted(cluster, "/admin/model", {"path": str(second.path)})
        assert await alerts(cluster) == []
        await asyncio.sleep(0.5)
        assert cluster.machine().of().model.bundle_id == second.bundle_id

    with_service(first, tmp_path, work, replicas=2)


def test_it_can_be_switched_off(bundle: Bundle, second: Bundle, tmp_path: Path) -> None:
    async def work(cluster: Cluster) -> None:
        await accepted(cluster, "/bars", bars_body(0, 400))
        await accepted(cluster, "/admin/model", {"path": str(second.path)})
        await lose(cluster)
        await asyncio.sleep(0.5)
        assert cluster.machine().of().model.bundle_id == second.bundle_id

    never = replace(SERVICE, rollback_sessions=0)
    with_service(bundle, tmp_path, work, replicas=1, service=never)


@pytest.mark.parametrize("writable", [True, False])
def test_the_registry_is_told_of_a_rollback(
    bundle: Bundle, second: Bundle, table: FeatureTable, tmp_path: Path, writable: bool
) -> None:
    registry = Registry(tmp_path / "registry")
    for each in (bundle, second):
        registry.add(each.path)
        registry.promote(each.bundle_id, why="it earns more")
    if not writable:
        (registry.folder / "lock").unlink()
        (registry.folder / "lock").mkdir()  # also root cannot open it

    async def work(cluster: Cluster) -> None:
        await accepted(cluster, "/bars", bars_body(0, 400))
        await accepted(cluster, "/admin/model", {"path": str(registry.path(second.bundle_id))})
        await lose(cluster)
        await decided_by(cluster, bundle.bundle_id)
        assert await deciding(cluster, table) == [bundle.bundle_id] * 2
        for _ in range(100):
            if len(registry.promotions()) == 3 or not writable:
                break
            await asyncio.sleep(0.05)

    with_service(bundle, tmp_path, work, replicas=2)
    if not writable:
        assert registry.chosen("TEST") == second.bundle_id
        return
    made = registry.promotions()
    assert len(made) == 3
    assert (made[-1].action, made[-1].bundle_id, made[-1].previous, made[-1].by) == (
        "rollback",
        bundle.bundle_id,
        second.bundle_id,
        AUTOMATIC,
    )
    assert "drawdown limit halted trading" in made[-1].why
