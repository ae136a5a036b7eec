"""The page's view and its events, from a real socket."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from rllib_tactical.bundle.bundle import Bundle
from serve.dashboard import hub, trail
from serve.dashboard.trail import Cursor
from tests.serve.dashboard.scene import ORDERS, READS, Market, Scene, served
from tests.serve.local import Lost

HEADERS = {"authorization": f"Bearer {READS}"}


class Stream:
    """The events of a page as a browser reads them."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.iter_lines()
        self.last_id = ""

    def next(self, *names: str) -> tuple[str, Any]:
        """Return the next event with one of these names."""
        name, data = "", ""
        for line in self._lines:
            key, _, value = line.partition(": ")
            if key == "id":
                self.last_id = value
            elif key == "event":
                name = value
            elif key == "data":
                data = value
            elif not line and name:
                if name in names:
                    return name, json.loads(data)
                name = ""
        raise AssertionError(f"the stream ended before {names}")

    def gather(self, *names: str) -> dict[str, Any]:
        """Return the latest event of each of these names, once there is one of each."""
        found: dict[str, Any] = {}
        while found.keys() != set(names):
            name, data = self.next(*names)
            found[name] = data
        return found

    def rest(self) -> list[str]:
        """Return the lines until the service ends the stream."""
        return list(self._lines)


@contextmanager
def events(scene: Scene, query: str = "", **headers: str) -> Iterator[Stream]:
    with scene.client.stream("GET", f"/events{query}", headers={**HEADERS, **headers}) as response:
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/event-stream"
        yield Stream(response)


def view(scene: Scene, query: str = "") -> dict[str, Any]:
    answer = scene.client.get(f"/view{query}", headers=HEADERS)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def written(scene: Scene, decision_id: str) -> None:
    """Wait until a decision is in the journal: holds are written in batches."""
    deadline = time.monotonic() + 20.0
    while decision_id not in {each["decision_id"] for each in view(scene)["decisions"]}:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_a_view_has_the_newest_bars_decisions_and_the_account(
    bundle: Bundle, tmp_path: Path
) -> None:
    with served(bundle, tmp_path) as scene:
        market = Market(scene.client)
        assert view(scene)["bars"] == []
        market.feed(400)
        answers = [market.step() for _ in range(80)]
        written(scene, answers[-1]["decision_id"])
        found = view(scene, "?bars=120&decisions=40")
        times = [bar[0] for bar in found["bars"]]
        assert times == market.bars.timestamp_s[360:480].tolist()
        assert found["bars"][-1][4] == market.bars.close[479]
        shown = [d["decision_id"] for d in found["decisions"]]
        assert shown[-40:] == [answer["decision_id"] for answer in answers[-40:]]
        opening = next(a for a in answers[::-1] if a["decision"]["execute"])
        assert opening["decision_id"] in shown
        assert len(shown) <= 41
        last, answer = found["decisions"][-1], answers[-1]
        assert last["bar_s"] == times[-1]
        assert last["scores"] == answer["decision"]["scores"]
        assert (
            last["votes"]["fvg"]["probabilities"]
            == answer["agent_breakdown"]["fvg"]["probabilities"]
        )
        assert len(found["fills"]) == market.fills > 0
        status = found["status"]["symbols"]["TEST"]
        assert (status["bars"], status["ready"], status["last_s"]) == (480, True, times[-1])
        assert status["drawdown_limit"] == 0.02
        assert 0 < len(found["gaps"]) < 120
        for gap in found["gaps"]:
            assert gap["to_s"] >= times[0]
            assert gap["low"] < gap["high"]


@pytest.mark.slow
def test_events_come_as_they_happen_and_go_on_after_a_cut(bundle: Bundle, tmp_path: Path) -> None:
    with served(bundle, tmp_path) as scene:
        market = Market(scene.client)
        market.feed(400)
        cursor = view(scene)["cursor"]
        with events(scene, "?symbol=TEST", **{"last-event-id": cursor}) as stream:
            _, monitors = stream.next("monitors")
            assert monitors == {
                "drift": {},
                "experiment": {"at_s": None, "split": "none", "symbols": {}},
            }
            answer = market.step()
            found = stream.gather("bars", "gaps", "decision", "status")
            bars, decision = found["bars"]["bars"], found["decision"]
            assert bars == [view(scene)["bars"][-1]]
            assert found["gaps"]["first_s"] < bars[0][0]
            assert decision["decision_id"] == answer["decision_id"]
            assert decision["bar_s"] == bars[0][0]
            assert found["status"]["symbols"]["TEST"]["bars"] == 401
        during = [market.step()["decision_id"] for _ in range(3)]
        written(scene, during[-1])
        with events(scene, **{"last-event-id": stream.last_id}) as again:
            missed = [again.next("bars", "decision") for _ in range(6)]
            assert [data["bars"][0][0] for name, data in missed if name == "bars"] == (
                market.bars.timestamp_s[401:404].tolist()
            )
            assert {d["decision_id"] for name, d in missed if name == "decision"} == set(during)
            market.order("pause")
            found = again.gather("audit", "status")
            while found["status"]["symbols"]["TEST"]["control"] != "pause":
                _, found["status"] = again.next("status")


@pytest.mark.slow
def test_a_page_that_missed_too_much_starts_again(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trail, "MAX_MISSED", 3)
    with served(bundle, tmp_path) as scene:
        market = Market(scene.client)
        market.feed(1)
        cursor = view(scene)["cursor"]
        for _ in range(5):
            market.feed(1)
        for last in (cursor, str(Cursor(9_999, 0))):
            with events(scene, **{"last-event-id": last}) as stream:
                assert stream.next("reset", "bars")[0] == "reset"
                assert stream.rest() == []
        refused = scene.client.get("/events", headers={**HEADERS, "last-event-id": "x"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "invalid_field")


@pytest.mark.slow
def test_a_page_that_does_not_read_costs_a_bounded_memory(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "WAITING", 4)
    with served(bundle, tmp_path) as scene:
        pages = scene.cluster.apps[0]._hub
        page = hub._Page("TEST")
        pages._pages.add(page)
        market = Market(scene.client)
        view(scene)
        for _ in range(12):
            market.feed(1)
            view(scene)
        assert page.parts.qsize() == 4
        assert page.behind


@pytest.mark.slow
def test_pages_that_have_gone_leave_nothing_behind(bundle: Bundle, tmp_path: Path) -> None:
    with served(bundle, tmp_path) as scene:
        pages = scene.cluster.apps[0]._hub
        with events(scene) as one, events(scene) as two:
            one.next("health")
            two.next("health")
            assert len(pages._pages) == 2
        deadline = time.monotonic() + 20.0
        while (pages._pages or pages._task) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert (pages._pages, pages._task) == (set(), None)


def test_streams_end_with_the_service_at_once(bundle: Bundle, tmp_path: Path) -> None:
    with served(bundle, tmp_path) as scene, events(scene) as stream:
        stream.next("health")
        begun = time.monotonic()
        scene.loop.call_soon_threadsafe(scene.cluster.apps[0].end_streams)
        stream.rest()
        assert time.monotonic() - begun < 3.0


@pytest.mark.slow
def test_a_lost_store_is_shown_as_such(bundle: Bundle, tmp_path: Path) -> None:
    with served(bundle, tmp_path) as scene:
        market = Market(scene.client)
        market.feed(400)
        view(scene)
        with events(scene) as stream:
            stream.next("health")
            store = scene.cluster.replica()._open.store
            with Lost(store, "version", "read_after", "append", "probe"):
                while True:
                    _, status = stream.next("status")
                    if status["symbols"]["TEST"]["hold"]:
                        break
                assert status["symbols"]["TEST"]["hold"] == "state_unavailable"
                assert len(view(scene)["bars"]) == 400
            while True:
                _, status = stream.next("status")
                if status["symbols"]["TEST"]["hold"] != "state_unavailable":
                    break


@pytest.mark.slow
def test_the_audit_trail_needs_the_admin_token_and_tells_who_did_what(
    bundle: Bundle, tmp_path: Path
) -> None:
    with served(bundle, tmp_path) as scene:
        market = Market(scene.client)
        market.order("pause", note="a news day", by="ann")
        market.order("resume")
        refused = scene.client.get("/admin/audit", headers=HEADERS)
        assert refused.status_code == 401
        admin = {"authorization": f"Bearer {ORDERS}"}
        entries = scene.client.get("/admin/audit", headers=admin).json()["entries"]
        assert [(e["kind"], e["what"], e["by"], e["note"]) for e in entries] == [
            ("model", "start", "", ""),
            ("control", "pause", "ann", "a news day"),
            ("control", "resume", "the desk from 127.0.0.1", ""),
        ]
        assert (entries[0]["bundle_id"], entries[0]["path"]) == (bundle.bundle_id, str(bundle.path))
        # an operator may look with the token for orders, and only look
        assert scene.client.get("/view", headers=admin).status_code == 200
        body = {"symbol": "TEST"}
        assert scene.client.post("/decide", json=body, headers=admin).status_code == 401


def test_a_store_that_fails_at_the_first_look_is_no_error(bundle: Bundle, tmp_path: Path) -> None:
    with served(bundle, tmp_path) as scene:
        with Lost(scene.cluster.replica()._open.store, "head"):
            assert view(scene)["cursor"] == "0-0"
        assert view(scene)["cursor"] == "1-0"
