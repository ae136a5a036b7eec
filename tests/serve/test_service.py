"""The service as its users meet it: a real deployment, real HTTP, with a token."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from rllib_tactical.bundle import Bundle
from rllib_tactical.config import PerformanceConfig
from rllib_tactical.domain.features import FeatureTable
from rllib_tactical.errors import ServiceError
from serve.decider import Decider
from serve.schemas import MAX_BODY_BYTES
from serve.security import TOKEN_VARIABLE
from tests.serve.conftest import request_at

pytestmark = [pytest.mark.serve, pytest.mark.ray, pytest.mark.slow]

TOKEN = "a-token-of-sufficient-length"


@pytest.fixture(scope="module")
def url(bundle: Bundle) -> Iterator[str]:
    """Start one replica on a Ray instance that already runs, as the demo does."""
    import ray

    from serve.run import start_service

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    os.environ[TOKEN_VARIABLE] = TOKEN
    try:
        with start_service(bundle.path, port=0) as service:
            assert service.authenticated
            yield service.url
        assert ray.is_initialized()  # not ours to stop
        with socket.socket() as free:
            free.bind(("127.0.0.1", urlsplit(service.url).port))
    finally:
        del os.environ[TOKEN_VARIABLE]
        ray.shutdown()


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=30.0) as made:
        yield made


def error_of(response: httpx.Response) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/json"
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"code", "message", "details"}
    return error


def test_decide_equals_the_decider(
    client: httpx.Client, bundle: Bundle, table: FeatureTable
) -> None:
    decider = Decider(bundle, PerformanceConfig())
    executed = 0
    for t in range(310, 600, 8):
        request = request_at(table, t)
        response = client.post("/decide", json=request)
        assert response.status_code == 200
        expected = decider.answer(json.dumps(request).encode()).body
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
    for path in ("/", "/decide/", "/admin/model"):
        response = client.get(path)
        assert (response.status_code, error_of(response)["code"]) == (404, "unknown_path")
    for method, path, allowed in (("GET", "/decide", "POST"), ("POST", "/health", "GET")):
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
    found = client.get("/health").json()
    assert found["status"] in ("healthy", "degraded", "critical")
    assert found["metrics"]["decisions_last_hour"] == before + 3
    assert found["metrics"]["active_positions"] == 0
    assert set(found["components"]) == {"resources", "models", "pipeline"}
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
    assert found["rules"]["aggregation"]["execution_threshold"] == 0.65
    assert "files" not in found
    assert "training" not in found


def test_a_second_service_on_the_same_ray_is_refused(url: str, bundle: Bundle) -> None:
    from serve.run import start_service

    with pytest.raises(ServiceError, match="Serve already runs"):
        start_service(bundle.path, port=0)
