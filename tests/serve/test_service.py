"""The service as its users meet it: a real deployment, real HTTP, with a token."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

import httpx
import msgspec
import psutil
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from rllib_tactical.bench.bad_requests import bad_requests
from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.config.service import PerformanceConfig
from rllib_tactical.domain.features.table import FeatureTable
from rllib_tactical.domain.simulation.account import Account
from rllib_tactical.errors import ServiceError
from serve.api.decide_request import MAX_BODY_BYTES
from serve.api.operations import EVENTS, OPERATIONS, PAGE_FILE
from serve.client import DecisionClient, DecisionStream, ServiceAnswerError
from serve.decision.decider import Decider
from serve.decision.risk_state import RiskState
from tests.ports import ports_of_serve
from tests.serve.conftest import request_at
from tests.serve.experiment.shadowed import challenger_for
from tests.serve.real_service import (
    REPLICAS,
    TOKEN,
    ask_all,
    error_of,
    on_a_running_ray,
    processes,
)
from tests.serve.test_bad_requests import good_bodies
from tests.serve.writes import bars_body, fill, fills_body

pytestmark = [pytest.mark.serve, pytest.mark.ray, pytest.mark.slow]

FLAT = RiskState(Account.opened(100_000.0))


@pytest.fixture(scope="module")
def ports() -> Iterator[None]:
    """Wait for other real services to end."""
    with ports_of_serve():
        yield


@pytest.fixture(scope="module")
def challenger(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return challenger_for(tmp_path_factory.mktemp("challenger"))


@pytest.fixture(scope="module")
def url(
    ports: None, bundle: Bundle, challenger: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    with on_a_running_ray(bundle, challenger, tmp_path_factory.mktemp("state")) as url:
        yield url


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=30.0) as made:
        yield made


def test_a_challenger_answers_in_the_shadow(
    client: httpx.Client, bundle: Bundle, challenger: Bundle, table: FeatureTable
) -> None:
    for t in range(310, 320):
        assert client.post("/decide", json=request_at(table, t)).status_code == 200
    deadline, answered = time.monotonic() + 60.0, 0
    while answered < 10 and time.monotonic() < deadline:
        time.sleep(0.2)
        found = client.get("/experiment").json()["symbols"].get("TEST")
        if found is not None:
            (own,) = found["challengers"]
            answered = own["decisions"]
    assert answered == 10
    assert (found["champion"], own["bundle_id"]) == (bundle.bundle_id, challenger.bundle_id)
    assert own["account"] is None  # there are no bars


def test_decide_equals_the_decider(
    client: httpx.Client, bundle: Bundle, table: FeatureTable
) -> None:
    decider = Decider(bundle, PerformanceConfig())
    executed = 0
    for t in range(310, 600, 8):
        request = request_at(table, t)
        response = client.post("/decide", json=request)
        assert response.status_code == 200
        decided = decider.answer(json.dumps(request).encode(), FLAT)
        expected = msgspec.to_builtins(decided.answer)
        found = response.json()
        assert found.pop("timing").keys() == expected["timing"].keys()
        assert found == {key: value for key, value in expected.items() if key != "timing"}
        executed += found["decision"]["execute"]
    assert executed > 5


def test_bad_input_is_answered_with_its_field(client: httpx.Client, table: FeatureTable) -> None:
    good = request_at(table, 300)
    rows = good["matrix_state"]
    without_price = {k: v for k, v in good["market_context"].items() if k != "current_price"}
    cases: list[tuple[bytes, int, str | None]] = [
        (b"{", 400, None),
        (b"", 400, None),
        (json.dumps({**good, "matrix_state": rows[:59]}).encode(), 422, "matrix_state"),
        (
            json.dumps({**good, "matrix_state": [*rows[:59], [float("nan")] * 7]}).encode(),
            422,
            "matrix_state[59][0]",
        ),
        (
            json.dumps({**good, "market_context": without_price}).encode(),
            422,
            "market_context.current_price",
        ),
        (json.dumps({**good, "extra": 1}).encode(), 422, "extra"),
    ]
    for body, status, field in cases:
        response = client.post("/decide", content=body)
        assert response.status_code == status
        assert error_of(response)["details"].get("field") == field


def test_a_large_body_is_refused(client: httpx.Client) -> None:
    declared = client.post("/decide", content=b" " * (MAX_BODY_BYTES + 1))
    assert (declared.status_code, error_of(declared)["code"]) == (413, "body_too_large")
    streamed = client.post("/decide", content=(b" " * 65_536 for _ in range(20)))
    assert (streamed.status_code, error_of(streamed)["code"]) == (413, "body_too_large")
    fits = client.post("/decide", content=b" " * MAX_BODY_BYTES)
    assert (fits.status_code, error_of(fits)["code"]) == (400, "malformed_json")


def test_a_compressed_body_is_refused(client: httpx.Client) -> None:
    response = client.post("/decide", content=b"x", headers={"content-encoding": "gzip"})
    assert (response.status_code, error_of(response)["code"]) == (415, "unsupported_encoding")


def test_unknown_paths_and_methods(client: httpx.Client) -> None:
    for path in ("/page", "/decide/", "/admin"):
        response = client.get(path)
        assert (response.status_code, error_of(response)["code"]) == (404, "unknown_path")
    for method, path, allowed in (("GET", "/decide", "POST"), ("POST", "/health", "GET, HEAD")):
        response = client.request(method, path)
        assert (response.status_code, error_of(response)["code"]) == (405, "method_not_allowed")
        assert response.headers["allow"] == allowed


def test_the_token_is_asked_for(url: str, table: FeatureTable) -> None:
    with httpx.Client(base_url=url, trust_env=False, timeout=30.0) as stranger:
        for response in (
            stranger.post("/decide", json=request_at(table, 300)),
            stranger.get("/model"),
            stranger.get("/model", headers={"authorization": "Bearer wrong"}),
            stranger.get("/nothing"),
        ):
            assert (response.status_code, error_of(response)["code"]) == (401, "unauthorised")
            assert response.headers["www-authenticate"] == "Bearer"
        assert stranger.get("/health").status_code == 200
        assert stranger.get("/metrics").status_code == 200


def test_health_counts_the_decisions(client: httpx.Client, table: FeatureTable) -> None:
    before = client.get("/health").json()["metrics"]["decisions_last_hour"]
    for _ in range(3):
        client.post("/decide", json=request_at(table, 300))
    deadline = time.monotonic() + 30.0
    while True:  # the other replica may be asked before this one has counted what it answered
        found = client.get("/health").json()
        if found["metrics"]["decisions_last_hour"] == before + 3 or time.monotonic() > deadline:
            break
    assert found["status"] in ("healthy", "degraded", "critical")
    assert found["metrics"]["decisions_last_hour"] == before + 3
    assert found["metrics"]["active_positions"] == 0
    assert set(found["components"]) == {"resources", "models", "pipeline", "agents", "bus", "store"}
    assert found["components"]["models"]["status"] == "healthy"
    assert found["latency"]["total"]["p50"] > 0


def test_metrics_are_prometheus_text(client: httpx.Client, table: FeatureTable) -> None:
    client.post("/decide", json=request_at(table, 300))
    response = client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    assert 'tactical_decisions_total{action_type="' in response.text
    assert "tactical_inference_latency_seconds_count" in response.text
    assert "tactical_active_positions 0.0" in response.text


def test_model_shows_the_public_manifest(client: httpx.Client, bundle: Bundle) -> None:
    found = client.get("/model").json()
    assert found["bundle_id"] == bundle.bundle_id
    assert found["instrument"]["symbol"] == "TEST"
    assert found["size_from"] == {"kind": "instrument"}
    assert found["rules"]["aggregation"]["execution_threshold"] == 0.65
    assert "files" not in found
    assert "training" not in found


def test_bars_fills_and_orders_reach_every_replica(
    client: httpx.Client, table: FeatureTable
) -> None:
    found = processes("ServeReplica")
    assert len(found) == REPLICAS
    # nobody's work on this machine comes before a decision
    assert {process.nice() for process in found} == {psutil.Process().nice()}
    posted = client.post("/bars", json=bars_body(0, 400)).json()
    assert (posted["accepted"], posted["ready"]) == (400, True)
    by_symbol = ask_all(client, {"symbol": "TEST"})
    by_matrix = ask_all(client, request_at(table, 399))
    assert all(answer == by_symbol[0] for answer in by_symbol + by_matrix)
    assert (
        client.post("/fills", json=fills_body(fill(1, "BUY", 3.0, 100.0))).json()["position"] == 3
    )
    for action, reason in (("pause", "paused"), ("flatten", "flatten"), ("resume", None)):
        given = client.post("/admin/override", json={"action": action})
        assert given.status_code == 200
        for answer in ask_all(client, request_at(table, 399)):
            assert (answer["source"] == "override") is (reason is not None)
            if reason:
                assert answer["decision"]["reason"] == reason
    assert client.post("/fills", json=fills_body(fill(2, "SELL", 3.0, 101.0))).status_code == 200
    found = client.get("/performance?days=3650").json()
    assert (found["trades"], found["net_pnl"]) == (0, 0)  # it ended in 1970
    assert client.get("/health").json()["metrics"]["active_positions"] == 0
    scraped = client.get("/metrics").text.splitlines()
    assert "tactical_trade_pnl_dollars_count 1.0" in scraped
    assert "tactical_active_positions 0.0" in scraped


def test_a_killed_replica_costs_no_request(url: str, table: FeatureTable) -> None:
    request = request_at(table, 399)
    with DecisionClient(url, TOKEN, timeout_s=30.0) as caller:
        expected = caller.decide(**request).decision_id
        for name in ("ServeReplica", "ServeController"):
            victim = processes(name)[0]
            for i in range(400):
                if i == 50:
                    victim.kill()
                answer = caller.decide(**request)
                # on a busy machine a lease can run out, and then the answer has to be hold
                stale = answer.decision.reason == "state_unavailable"
                assert stale or answer.decision_id == expected
        assert caller.override("resume").override == "none"


def test_one_connection_asks_again_and_again(client: httpx.Client, table: FeatureTable) -> None:
    address = f"ws://{client.base_url.host}:{client.base_url.port}/ws"
    headers = {"authorization": client.headers["authorization"]}
    with connect(address, additional_headers=headers, proxy=None) as stream:
        for t in range(310, 400, 10):
            request = request_at(table, t)
            stream.send(json.dumps(request))
            found = json.loads(stream.recv(timeout=30.0))
            expected = client.post("/decide", json=request).json()
            assert found["decision_id"] == expected["decision_id"]
        stream.send(b"{")
        assert json.loads(stream.recv(timeout=30.0))["error"]["code"] == "malformed_json"
        stream.send(" " * (MAX_BODY_BYTES + 1))
        with pytest.raises(ConnectionClosed, match="1009"):
            stream.recv(timeout=30.0)
    for path, sent in (("/ws", {}), ("/ws2", headers)):
        with (
            pytest.raises(InvalidStatus, match="403"),
            connect(address.replace("/ws", path), additional_headers=sent, proxy=None),
        ):
            pass


def test_the_streams_client_gets_the_same_decisions(
    client: httpx.Client, url: str, table: FeatureTable
) -> None:
    with DecisionStream(url, TOKEN, timeout_s=30.0) as stream:
        for t in (320, 330):
            request = request_at(table, t)
            expected = client.post("/decide", json=request).json()
            assert stream.decide(**request).decision_id == expected["decision_id"]
        with pytest.raises(ServiceAnswerError, match="wrong_symbol"):
            stream.decide(symbol="OTHER")
    with (
        pytest.raises(ServiceAnswerError, match="token") as caught,
        DecisionStream(url, "x" * 16) as stream,
    ):
        stream.decide(symbol="TEST")
    assert caught.value.status == 403


def test_generated_requests_get_the_answers_of_the_document(client: httpx.Client) -> None:
    """Schemathesis draws requests from the document, good and bad ones."""
    headers = dict(client.headers)
    schema = schemathesis.openapi.from_url(f"{client.base_url}/openapi.json", headers=headers)
    checks = [
        schemathesis.checks.not_a_server_error,
        status_code_conformance,
        content_type_conformance,
        response_schema_conformance,
    ]
    operations = [each.ok() for each in schema.get_all_operations() if isinstance(each, Ok)]
    found = {operation.path for operation in operations}
    assert found >= {operation.path for operation in OPERATIONS} - {"/openapi.json"}
    for operation in operations:
        if operation.path in (EVENTS.path, PAGE_FILE.path):  # no end; media of several kinds
            continue
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            if mode is GenerationMode.NEGATIVE and operation.method.upper() == "GET":
                continue

            @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: Any) -> None:
                response = case.call(headers=headers, timeout=30.0)
                # a critical health is no error of the server: the document has the answer
                declared = case.operation.path == "/health" and response.status_code == 503
                case.validate_response(response, checks=checks[1:] if declared else checks)

            ask()
    assert client.get("/ready").status_code == 200


def test_bad_requests_get_a_4xx(client: httpx.Client, table: FeatureTable) -> None:
    for path, body in islice(bad_requests(good_bodies(table), 2), 400):
        response = client.post(path, content=body)
        assert 400 <= response.status_code < 500, (path, body[:200], response.text)
        assert error_of(response)["code"]
    assert client.get("/ready").status_code == 200


def test_a_second_service_on_the_same_ray_is_refused(url: str, bundle: Bundle) -> None:
    from serve.deploy.launcher import start_service

    with pytest.raises(ServiceError, match="Serve already runs"):
        start_service(bundle.path, port=0)


def test_killed_replicas_come_back_with_the_state(
    client: httpx.Client, table: FeatureTable
) -> None:
    assert client.post("/admin/override", json={"action": "force_hold"}).status_code == 200
    killed = processes("ServeReplica")
    for process in killed:
        process.kill()
    deadline = time.monotonic() + 90.0
    while time.monotonic() < deadline:
        with suppress(httpx.HTTPError):
            response = client.post("/decide", json=request_at(table, 399))
            if response.status_code == 200:
                assert response.json()["decision"]["reason"] == "forced_hold"
                if len(processes("ServeReplica")) == REPLICAS:
                    break
        time.sleep(0.05)
    assert not {process.pid for process in killed} & {p.pid for p in processes("ServeReplica")}
    assert client.post("/bars", json=bars_body(399, 400)).json()["bars"] == 400
    for answer in ask_all(client, request_at(table, 399), 4):
        assert answer["decision"]["reason"] == "forced_hold"
    found = client.post("/admin/override", json={"action": "resume"})
    assert found.json()["override"] == "none"
    for answer in ask_all(client, request_at(table, 399), 4):
        assert answer["decision"]["reason"] not in ("forced_hold", "state_unavailable")
