"""A state folder is opened again: nothing is lost, and foreign or damaged ones are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.features.table import FeatureTable
from rllib_tactical.errors import ServiceError
from serve.replication.coordinator import Coordinator
from serve.replication.recovery import open_state
from serve.state.journal import FILE_NAME, Journal
from tests.serve.local import SERVICE, Cluster, coordinator_settings
from tests.serve.writes import (
    accepted,
    bars_body,
    fill,
    fills_body,
    with_service,
)


def test_a_restart_loses_nothing(bundle: Bundle, table: FeatureTable, tmp_path: Path) -> None:
    before: dict[str, Any] = {}

    async def first(cluster: Cluster) -> None:
        await accepted(cluster, "/bars", bars_body(0, 400))
        await accepted(cluster, "/bars", bars_body(401, 420))
        await accepted(cluster, "/fills", fills_body(fill(1, "BUY", 5.0, 100.0)))
        await accepted(cluster, "/fills", fills_body(fill(2, "SELL", 5.0, 101.0)))
        await accepted(cluster, "/fills", fills_body(fill(3, "SELL", 2.0, 101.0)))
        await accepted(cluster, "/admin/override", {"action": "pause", "request_id": "a"})
        before["decision"] = await accepted(cluster, "/decide", {"symbol": "TEST"})
        del before["decision"]["timing"]
        before["performance"] = (await cluster.get("/performance?days=3650")).json()
        before["snapshot"] = cluster.coordinator._machine.snapshot()

    async def second(cluster: Cluster) -> None:
        assert cluster.coordinator._machine.snapshot() == before["snapshot"]
        decision = await accepted(cluster, "/decide", {"symbol": "TEST"})
        del decision["timing"]
        assert decision == before["decision"]
        assert (await cluster.get("/performance?days=3650")).json() == before["performance"]
        pause = {"action": "pause", "request_id": "a"}
        assert (await accepted(cluster, "/admin/override", pause))["repeated"]
        again = await accepted(cluster, "/bars", bars_body(402, 420))
        assert (again["accepted"], again["repeated"]) == (0, 18)

    with_service(bundle, tmp_path, first, replicas=1)
    with_service(bundle, tmp_path, second, replicas=1, launch="second")
    with_service(bundle, tmp_path, second, replicas=1, launch="second")


@pytest.mark.parametrize("launch", ["first", "second"])
def test_whether_bars_are_live_stands_in_the_journal(
    bundle: Bundle, tmp_path: Path, launch: str
) -> None:
    for live_bars in (True, False, True):
        service = replace(SERVICE, live_bars=live_bars)
        coordinator = Coordinator(coordinator_settings(bundle, tmp_path / "state", service, launch))
        assert coordinator._machine.model.live_bars is live_bars
        assert coordinator._machine.model.bundle_id == bundle.bundle_id
        coordinator.close()


def test_another_market_than_the_folders_is_refused_and_the_folder_is_free_again(
    bundle: Bundle, tmp_path: Path
) -> None:
    settings = coordinator_settings(bundle, tmp_path)
    journal, machine = open_state(settings)
    journal.close()
    assert machine.model.bundle_id == bundle.bundle_id
    foreign = msgspec.structs.replace(
        settings.model,
        launch="second",
        bar_seconds=60,
        instrument=settings.model.instrument | {"symbol": "OTHER"},
    )
    with pytest.raises(ServiceError, match="symbol 'OTHER' instead of 'TEST', bars of 60 s") as no:
        open_state(replace(settings, model=foreign))
    assert str(no.value).startswith(f"state folder {tmp_path}: ")
    journal, _ = open_state(settings)  # the refusal left no lock behind
    journal.close()


def test_a_start_with_the_bundle_that_is_there_writes_nothing(
    bundle: Bundle, tmp_path: Path
) -> None:
    settings = coordinator_settings(bundle, tmp_path)
    written = []
    for launch in ("first", "first", "second"):
        model = msgspec.structs.replace(settings.model, launch=launch)
        journal, machine = open_state(replace(settings, model=model))
        journal.close()
        assert machine.launch == launch
        written.append((tmp_path / FILE_NAME).stat().st_size)
    assert written[0] == written[1] < written[2]


def test_a_journal_of_another_version_says_so(bundle: Bundle, tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append({"type": "diary"})
    journal.close()
    with pytest.raises(ServiceError, match="was written by another version"):
        open_state(coordinator_settings(bundle, tmp_path))
