"""A past day and the explanation of a decision, as the service answers them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.features.table import compute_features
from serve.dashboard.days import day_of
from serve.dashboard.why import why_of
from serve.journal.explain import explain
from tests.serve.conftest import request_at
from tests.serve.dashboard.scene import READS, Market, Scene, served
from tests.serve.dashboard.test_hub import written

HEADERS = {"authorization": f"Bearer {READS}"}


def asked(scene: Scene, path: str, status: int = 200) -> dict[str, Any]:
    answer = scene.client.get(path, headers=HEADERS)
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.slow
def test_a_day_has_its_bars_decisions_and_fills_and_some_bars_before(
    bundle: Bundle, tmp_path: Path
) -> None:
    with served(bundle, tmp_path) as scene:
        market = Market(scene.client)
        market.feed(500)
        answers = [market.step() for _ in range(120)]
        market.order("pause", note="lunch", by="ann")
        written(scene, answers[-1]["decision_id"])
        days = ["2026-03-02", "2026-03-03", "2026-03-04"]
        found = asked(scene, "/day?day=2026-03-03")
        assert (found["day"], found["days"], found["timezone"]) == ("2026-03-03", days, "UTC")
        times = [bar[0] for bar in found["bars"]]
        first = times.index(found["first_s"])
        assert first == 60
        assert datetime.fromtimestamp(times[first], UTC).isoformat() == "2026-03-03T00:00:00+00:00"
        assert len(times) == 60 + 288
        # bars 500 to 575 are of this day: 76 decisions
        assert [d["decision_id"] for d in found["decisions"]].sort() == [
            a["decision_id"] for a in answers[:76]
        ].sort()
        assert {d["bar_s"] for d in found["decisions"]} == set(times[-76:])
        assert found["fills"]
        newest = asked(scene, "/day")
        assert newest["day"] == days[-1]
        assert len(newest["bars"]) == 60 + 620 - 576
        empty = asked(scene, "/day?day=2025-01-01")
        assert (empty["bars"], empty["decisions"], empty["first_s"]) == ([], [], None)
        assert asked(scene, "/day?day=yesterday", 422)["error"]["code"] == "invalid_field"


@pytest.mark.slow
def test_a_decision_is_explained_with_its_window_and_every_step(
    bundle: Bundle, tmp_path: Path
) -> None:
    with served(bundle, tmp_path) as scene:
        market = Market(scene.client)
        market.feed(450)
        answers = [market.step() for _ in range(60)]
        written(scene, answers[-1]["decision_id"])
        name = scene.cluster.replica()._settings.store
        ordered = next(a for a in answers if a["decision"]["execution_command"])
        found = asked(scene, f"/explain?decision_id={ordered['decision_id']}")
        again = explain(name, ordered["decision_id"])
        assert found["same"] is True
        assert found["votes"] == again.votes
        assert [row["name"] for row in found["columns"]] == found["features"]
        assert len(found["rows"]) == len(found["window"]) == 60
        row = answers.index(ordered) + 450
        raw = compute_features(market.bars[: row + 1]).raw[-60:]
        np.testing.assert_array_equal(np.array(found["window"]), raw)
        assert found["bar_s"] == market.bars.timestamp_s[row]
        assert [step["name"] for step in found["steps"]] == ["votes", "order", "limits"]
        last = found["steps"][-1]
        command = ordered["decision"]["execution_command"]
        assert last["quantity"] == command["quantity"]
        assert found["outcome"]["reason"] == last["text"] == ordered["decision"]["reason"]
        assert len(found["others"]) == 6
        assert asked(scene, "/explain?decision_id=0000", 404)["error"]["code"] == "not_explained"
        assert asked(scene, "/explain", 422)["error"]["code"] == "missing_field"


@pytest.mark.slow
def test_a_pause_is_a_step_of_its_own(bundle: Bundle, tmp_path: Path) -> None:
    with served(bundle, tmp_path) as scene:
        market = Market(scene.client)
        market.feed(450)
        market.order("pause")
        paused = market.step()
        written(scene, paused["decision_id"])
        found = why_of(scene.cluster.replica()._settings.store, paused["decision_id"])
        assert (found.steps[-1].name, found.steps[-1].text) == ("override", "paused")
        assert (found.outcome.action, found.outcome.reason) == ("hold", "paused")


@pytest.mark.slow
def test_a_decision_on_a_matrix_of_its_own_has_no_bar(bundle: Bundle, tmp_path: Path) -> None:
    with served(bundle, tmp_path) as scene:
        market = Market(scene.client)
        table = compute_features(market.bars[:400])
        answers = [market.post("/decide", request_at(table, t)) for t in range(310, 400)]
        entered = [a for a in answers if a["decision"]["execute"]]
        written(scene, entered[-1]["decision_id"])
        name = scene.cluster.replica()._settings.store
        found = why_of(name, entered[0]["decision_id"])
        assert (found.bar_s, found.same) == (None, True)
        # an order of the full size costs more at its stop than the limits leave
        limits = {limit.name: limit for limit in found.limits}
        assert all(limit.quantity < found.steps[1].quantity for limit in limits.values())
        if limits:
            assert min(limit.quantity for limit in limits.values()) == found.steps[2].quantity
        assert day_of(name, "TEST", None).days == []


@pytest.mark.slow
@pytest.mark.parametrize("tail", ["", "?symbol=TEST"])
def test_without_bars_a_day_is_empty(bundle: Bundle, tmp_path: Path, tail: str) -> None:
    with served(bundle, tmp_path) as scene:
        found = asked(scene, f"/day{tail}")
        assert (found["day"], found["bars"], found["days"]) == (None, [], [])
