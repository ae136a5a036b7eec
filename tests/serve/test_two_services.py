"""Two services on one machine under load, one of them disturbed: they share nothing."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from rllib_tactical.bench.load import LoadResult, http_request, send_load
from rllib_tactical.bench.service_process import ServiceProcess, served, start_served
from rllib_tactical.bundle.bundle import Bundle, export_bundle
from rllib_tactical.domain.features.table import FeatureTable
from rllib_tactical.errors import ServiceError
from tests.ports import ports_of_serve
from tests.serve.conftest import request_at
from tests.serve.writes import fill, fills_body

pytestmark = [pytest.mark.serve, pytest.mark.ray, pytest.mark.slow]

KILLS = 3
REPLAY = "tactical_marl: {service: {live_bars: false, max_bar_age_s: 1.0e+9, lease_s: 10.0}}\n"


@pytest.fixture(autouse=True, scope="module")
def ports() -> Iterator[None]:
    """Wait for other real services to end."""
    with ports_of_serve():
        yield


@pytest.fixture(scope="module")
def other(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return a bundle whose answers can be told from those of ``bundle``."""
    return export_bundle(
        tmp_path_factory.mktemp("other") / "bundle",
        weights=bundle.weights,
        rules=bundle.rules,
        instrument=bundle.instrument,
        bar_seconds=bundle.bar_seconds,
        temperature_scale=0.75,
        training={},
        metrics={},
    )


class Load:
    """Requests to a service from a thread, until it is stopped."""

    def __init__(self, url: str, body: bytes) -> None:
        self._ended = threading.Event()
        requests = itertools.repeat(http_request("/decide", body, "127.0.0.1"))
        self._result: list[LoadResult] = []

        def run() -> None:
            # each answer is looked at; requests are repeated, as those of the client are
            self._result.append(
                send_load(
                    url,
                    requests,
                    2,
                    keep=lambda status, answer: True,
                    until=self._ended.is_set,
                    repeats=1_000_000,
                )
            )

        self._thread = threading.Thread(target=run)
        self._thread.start()

    def stop(self) -> LoadResult:
        self._ended.set()
        self._thread.join()
        return self._result[0]


def bundles_in(result: LoadResult) -> set[str]:
    return {json.loads(body)["bundle_id"] for body in result.bodies}


def resources(service: ServiceProcess) -> set[str]:
    """Return ports and sockets that a service's processes listen on, and files they write."""
    found = set()
    for process in service.processes():
        with suppress(psutil.Error):
            for connection in process.net_connections("all"):
                # an address is (host, port), or the path of a Unix socket
                place: object = connection.laddr
                if connection.status == psutil.CONN_LISTEN:
                    found.add(f"port {connection.laddr.port}")
                elif isinstance(place, str) and place:
                    found.add(place)
            found |= {file.path for file in process.open_files() if file.mode != "r"}
    return found


def test_neither_answers_for_the_other(
    bundle: Bundle, other: Bundle, table: FeatureTable, tmp_path: Path
) -> None:
    config = tmp_path / "service.yaml"
    config.write_text(REPLAY)
    body = json.dumps(request_at(table, 330)).encode()

    def arguments(chosen: Bundle, name: str) -> tuple[str | Path, ...]:
        there = ("--port", "0", "--state", tmp_path / name, "--config", config)
        return ("--bundle", chosen.path, *there)

    with served(arguments(bundle, "first")) as first, served(arguments(other, "second")) as second:
        own = resources(first)
        assert any(name.startswith("port") for name in own)
        assert any(name.endswith("state.db") for name in own)
        assert own & resources(second) == set()

        with pytest.raises(ServiceError, match=r"another service is using it; .*--state"):
            start_served(arguments(bundle, "first"))
        taken = (*arguments(bundle, "third"), "--port", str(first.port))
        with pytest.raises(ServiceError, match=f"port {first.port}"):
            start_served(taken)

        loads = Load(first.url, body), Load(second.url, body)
        with httpx.Client(base_url=first.url, trust_env=False, timeout=30.0) as client:
            for number in range(KILLS):
                first.processes("replica")[0].kill()
                posted, deadline = 0, time.monotonic() + 60.0
                while posted < 20:  # while nobody answers, and after
                    assert time.monotonic() < deadline
                    with suppress(httpx.HTTPError):
                        given = fills_body(fill(100 * number + posted, "BUY", 1.0, 100.0))
                        posted += client.post("/fills", json=given).status_code == 200
            assert client.post("/admin/override", json={"action": "pause"}).status_code == 200
        answers = [load.stop() for load in loads]
        assert bundles_in(answers[0]) == {bundle.bundle_id}
        assert bundles_in(answers[1]) == {other.bundle_id}
        assert answers[1].failures() == answers[1].repeated == 0  # it was not disturbed
        with httpx.Client(base_url=second.url, trust_env=False, timeout=30.0) as client:
            health = client.get("/health").json()
            assert health["metrics"]["active_positions"] == 0
            assert client.post("/decide", content=body).json()["decision"]["reason"] != "paused"
            told = client.post("/fills", json=fills_body(fill(1, "BUY", 2.0, 100.0))).json()
            assert (told["accepted"], told["position"]) == (1, 2.0)
        with httpx.Client(base_url=first.url, trust_env=False, timeout=30.0) as client:
            told = client.post("/fills", json=fills_body(fill(0, "BUY", 1.0, 100.0))).json()
            assert (told["repeated"], told["position"]) == (1, 20.0 * KILLS)
            assert client.post("/decide", content=body).json()["decision"]["reason"] == "paused"
