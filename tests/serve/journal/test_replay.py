"""Recorded decisions are recomputed bit for bit, and the first difference is named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.features.table import FeatureTable
from rllib_tactical.errors import BundleError, DataError
from serve.journal.reading import find_journal, read_decisions
from serve.journal.replay import first_difference, replay
from serve.state.opening import journal_name, open_store
from serve.state.store import Entry
from tests.serve.conftest import request_at
from tests.serve.local import Cluster
from tests.serve.state.stores import valkey_server
from tests.serve.writes import accepted, bars_body, fill, fills_body, with_service


def session(table: FeatureTable) -> Callable[[Cluster], Any]:
    """Return a session with decisions of every kind: bars, windows, positions, orders, fallback."""

    async def work(cluster: Cluster) -> None:
        await accepted(cluster, "/bars", bars_body(0, 400))
        for t in range(400, 420):
            await accepted(cluster, "/bars", bars_body(t, t + 1), t % 2)
            await accepted(cluster, "/decide", {"symbol": "TEST"}, t % 2)
            overrides = {"mode": "sample", "temperature": 2.0}
            body = request_at(table, t, override_params=overrides)
            await accepted(cluster, "/decide", body, t % 2)
        await accepted(cluster, "/fills", fills_body(fill(1, "BUY", 5.0, 100.0)))
        await accepted(cluster, "/bars", bars_body(421, 423))
        await accepted(cluster, "/decide", {"symbol": "TEST"})  # after a gap
        await accepted(cluster, "/decide", request_at(table, 424))
        await accepted(cluster, "/admin/override", {"action": "flatten"})
        await accepted(cluster, "/decide", request_at(table, 425))
        await accepted(cluster, "/admin/override", {"action": "resume"})

        class Failing:
            name = "failing"

            def logits(self, inputs: Any) -> Any:
                raise BundleError("no actors")

        replica = cluster.replica()
        replica.active().decider._engine = Failing()
        answer = await accepted(cluster, "/decide", request_at(table, 426))
        assert answer["source"] == "fallback"

    return work


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "valkey"])
def test_every_decision_of_a_session_is_recomputed_bit_for_bit(
    bundle: Bundle, table: FeatureTable, tmp_path: Path, kind: str
) -> None:
    if kind == "sqlite":
        with_service(bundle, tmp_path, session(table), replicas=2)
        found = replay(find_journal(str(tmp_path / "state")))
        assert (found.decisions, found.differ, found.first) == (44, 0, None)
        return
    with valkey_server(tmp_path / "server") as (url, _):
        with_service(bundle, tmp_path, session(table), replicas=2, store=f"{url}#TEST")
        found = replay(f"{url}#TEST")
        assert (found.decisions, found.differ) == (44, 0)


def rewritten(name: str, change: Callable[[dict[str, Any]], None], which: int) -> None:
    """Write a journal anew with one record changed, as somebody with the files could."""
    store = open_store(journal_name(name))
    records = store.read_after(0)
    entries = []
    for number, stored in enumerate(records):
        data = msgspec.json.decode(stored.data)
        if number == which:
            change(data)
        entries.append(Entry(stored.kind, msgspec.json.encode(data), stored.key))
    folder = Path(journal_name(name))
    store.close()
    shutil.rmtree(folder)
    store = open_store(str(folder))
    store.append(0, entries)
    store.close()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda data: data["answer"]["decision"].update(confidence=0.123), "decision.confidence"),
        (
            lambda data: data["answer"]["agent_breakdown"]["entry"]["probabilities"].__setitem__(
                2, 0.5
            ),
            "agent_breakdown.entry.probabilities[2]",
        ),
        (lambda data: data["account"].update(equity=1.0), None),
        (lambda data: data["request"].__setitem__(2, 99.0), None),
    ],
)
def test_the_first_difference_is_named(
    bundle: Bundle, table: FeatureTable, tmp_path: Path, change: Any, field: str | None
) -> None:
    async def work(cluster: Cluster) -> None:
        for t in range(310, 315):
            await accepted(cluster, "/decide", request_at(table, t))

    with_service(bundle, tmp_path, work, replicas=1)
    name = find_journal(str(tmp_path / "state"))
    assert replay(name).differ == 0
    rewritten(name, change, 2)
    found = replay(name)
    assert (found.decisions, found.differ) == (5, 1)
    assert found.first is not None
    changed = list(read_decisions(name))[2]
    assert found.first.decision_id == changed.decision_id
    if field is not None:
        assert found.first.field == field
        assert f"{field} was " in str(found.first)


def test_bars_that_are_no_longer_those_of_then_are_a_difference(
    bundle: Bundle, table: FeatureTable, tmp_path: Path
) -> None:
    async def work(cluster: Cluster) -> None:
        await accepted(cluster, "/bars", bars_body(0, 400))
        await accepted(cluster, "/decide", {"symbol": "TEST"})
        await accepted(cluster, "/bars", bars_body(400, 401))

    with_service(bundle, tmp_path, work, replicas=1)
    name = find_journal(str(tmp_path / "state"))
    rewritten(name, lambda data: data.update(state_version=3), 0)
    found = replay(name)
    assert found.first is not None
    assert (found.first.field, found.first.recorded) == ("price", table.close[399])
    rewritten(name, lambda data: data.update(state_version=99), 0)
    with pytest.raises(DataError, match="must have version 99 of TEST, found none"):
        replay(name)


def test_a_bundle_that_is_gone_is_found_among_the_copies_or_given(
    bundle: Bundle, table: FeatureTable, tmp_path: Path
) -> None:
    async def work(cluster: Cluster) -> None:
        await accepted(cluster, "/decide", request_at(table, 310))

    moved = tmp_path / "bundle"
    shutil.copytree(bundle.path, moved)
    with_service(replace(bundle, path=moved), tmp_path, work, replicas=1)
    name = find_journal(str(tmp_path / "state"))
    shutil.rmtree(moved)
    assert replay(name).differ == 0  # from the copy
    shutil.rmtree(tmp_path / "state" / "bundles")
    with pytest.raises(DataError, match=r"must be in a folder named by --bundle, found nowhere"):
        replay(name)
    assert replay(name, bundles=[bundle.path]).differ == 0


def test_what_only_a_later_version_answers_is_no_difference() -> None:
    old: dict[str, Any] = {"a": [1, {"b": 2}]}
    assert first_difference(old, {"a": [1, {"b": 2, "new": 3}], "more": 4}) is None
    assert first_difference(old, {"a": [1, {"b": 5}]}) == ("a[1].b", 2, 5)
    assert first_difference(old, {"a": [1]}) == ("a", old["a"], [1])
    assert first_difference(old, {}) == ("a", old["a"], None)
