"""Clients that other people's tools generate from the served document can call every operation."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
import uvicorn

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.features.table import FeatureTable
from serve.api.operations import (
    ACCOUNT,
    AUDIT,
    BARS,
    DAY,
    DECIDE,
    EVENTS,
    EXPERIMENT,
    EXPLAIN,
    FILLS,
    HEALTH,
    LIVE,
    LOAD_MODEL,
    METRICS,
    MODEL,
    OPENAPI,
    OPERATIONS,
    OVERRIDE,
    PAGE,
    PAGE_FILE,
    PERFORMANCE,
    READY,
    VIEW,
    Operation,
)
from serve.http.security import token_digest
from tests.serve.conftest import request_at
from tests.serve.local import running
from tests.serve.writes import bars_body, fill, fills_body

pytestmark = pytest.mark.slow

TOKEN = "t" * 16
HEADERS = {"authorization": f"Bearer {TOKEN}"}
SYNERGY = {
    "synergy_type": "TYPE_1",
    "direction": 1,
    "confidence": 0.8,
    "signal_sequence": ["fvg", 2, 0.5, True, None, {"kind": "momentum"}, ["volume"]],
    "timestamp": "2026-01-05T15:35:00Z",
}
METADATA = {
    "source": "policy",
    "decision_id": "d",
    "bundle_id": "b",
    "confidence": 0.7,
    "votes": {"fvg": "long", "momentum": "down", "entry": "aggressive"},
    "synergy_aligned": None,
}

Call = tuple[Operation[Any], Any]
"""An operation and the body to send, None without one."""


def needs(tool: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        importlib.util.find_spec(tool) is None, reason=f"{tool} is not installed"
    )


@contextmanager
def serving(bundle: Bundle, folder: Path, with_token: bool = True) -> Iterator[str]:
    """Run the service behind a real socket, and yield its address."""
    digest = token_digest(TOKEN) if with_token else None
    servers: list[uvicorn.Server] = []

    async def serve(listener: socket.socket) -> None:
        async with running(bundle, folder, token_digest=digest) as cluster:
            config = uvicorn.Config(cluster.apps[0], log_level="error", lifespan="off")
            servers.append(uvicorn.Server(config))
            await servers[0].serve(sockets=[listener])

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=lambda: asyncio.run(serve(listener)))
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            httpx.get(f"{url}/ready", trust_env=False, timeout=60.0).raise_for_status()
            yield url
        finally:
            for server in servers:
                server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def url(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(bundle, tmp_path_factory.mktemp("service")) as address:
        yield address


@pytest.fixture(scope="module")
def document(url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the document as the service serves it."""
    path = tmp_path_factory.mktemp("document") / "openapi.json"
    response = httpx.get(f"{url}/openapi.json", headers=HEADERS, trust_env=False)
    path.write_bytes(response.raise_for_status().content)
    return path


@pytest.fixture
def calls(bundle: Bundle, table: FeatureTable) -> list[Call]:
    """Return a call of every operation, each of which the service accepts."""
    by_matrix = request_at(
        table, 330, synergy_context=SYNERGY, override_params={"mode": "sample", "seed": 3}
    )
    fills = fills_body(
        fill(1, "BUY", 1.0, 100.0, metadata=METADATA), fill(2, "SELL", 1.0, 99.0, commission=0.5)
    )
    found: list[Call] = [
        (BARS, bars_body(0, 400)),
        (BARS, bars_body(403, 404)),
        (DECIDE, by_matrix),
        (DECIDE, {"symbol": "TEST", "synergy_context": None}),
        (FILLS, fills),
        (ACCOUNT, {"symbol": "TEST", "request_id": "a", "by": "ops", "note": "daily"}),
        (OVERRIDE, {"action": "pause", "request_id": uuid.uuid4().hex, "note": "lunch"}),
        (OVERRIDE, {"action": "resume"}),
        (LOAD_MODEL, {"path": str(bundle.path), "bundle_id": bundle.bundle_id}),
        *((read, None) for read in (HEALTH, LIVE, READY, METRICS, PERFORMANCE, MODEL, OPENAPI)),
        *((read, None) for read in (VIEW, DAY, AUDIT, PAGE, EXPERIMENT)),
    ]
    # a stream has no end, and the others ask for something that is not known here
    others = {EVENTS, EXPLAIN, PAGE_FILE}
    assert {operation for operation, _ in found} == set(OPERATIONS) - others
    return found


def generate(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def imported(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(folder)
    return importlib.import_module(name)


@needs("openapi_python_client")
def test_openapi_python_client_calls_every_operation(
    url: str,
    document: Path,
    calls: list[Call],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text("post_hooks: []\n", encoding="utf-8")  # it would look for ruff on the path
    generate(
        "openapi_python_client",
        "generate",
        f"--path={document}",
        f"--config={settings}",
        f"--output-path={tmp_path / 'generated_service'}",
        "--meta=none",
        "--fail-on-warning",  # of a part of the document that would be left out
    )
    package = imported("generated_service", tmp_path, monkeypatch)
    models = importlib.import_module("generated_service.models")

    def call(client: Any, operation: Operation[Any], body: Any) -> Any:
        module = importlib.import_module(f"generated_service.api.default.{operation.name}")
        if operation.request is None:
            return module.sync_detailed(client=client)
        request = getattr(models, operation.request.__name__).from_dict(body)
        return module.sync_detailed(client=client, body=request)

    reasons = []
    with package.AuthenticatedClient(
        url, TOKEN, raise_on_unexpected_status=True, httpx_args={"trust_env": False}
    ) as client:
        for operation, body in calls:
            response = call(client, operation, body)
            assert response.status_code == 200, response.content
            if operation in (METRICS, PAGE):
                assert response.parsed == response.content.decode()
                continue
            assert response.parsed.to_dict() == json.loads(response.content)
            if operation is DECIDE:
                reasons.append(response.parsed.decision.reason)
        refused = call(client, DECIDE, {"symbol": "OTHER"})
    assert all(isinstance(reason, models.ReasonCode) for reason in reasons)
    assert (refused.status_code, type(refused.parsed)) == (422, models.ErrorAnswer)
    assert refused.parsed.error.code == "wrong_symbol"


@needs("datamodel_code_generator")
def test_datamodel_code_generator_has_a_model_of_every_body(
    url: str,
    document: Path,
    calls: list[Call],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generate(
        "datamodel_code_generator",
        f"--input={document}",
        "--input-file-type=openapi",
        f"--output={tmp_path / 'generated_models.py'}",
        "--output-model-type=pydantic_v2.BaseModel",
        "--formatters=builtin",
    )
    models = imported("generated_models", tmp_path, monkeypatch)
    reasons = []
    with httpx.Client(base_url=url, headers=HEADERS, trust_env=False, timeout=60.0) as client:
        for operation, body in calls:
            content = None
            if operation.request is not None:
                request = getattr(models, operation.request.__name__).model_validate(body)
                content = request.model_dump_json(exclude_unset=True)
            response = client.request(operation.method, operation.path, content=content)
            assert response.status_code == 200, response.text
            if operation in (METRICS, OPENAPI, PAGE):  # texts, and any object
                continue
            model = getattr(models, operation.answer.__name__)
            answer = model.model_validate_json(response.content)
            assert answer.model_dump(mode="json", exclude_unset=True) == response.json()
            if operation is DECIDE:
                reasons.append(answer.decision.reason)
        assert all(isinstance(reason, models.ReasonCode) for reason in reasons)
        for method, path, status in (("GET", "/no", 404), ("PUT", "/bars", 405)):
            refused = client.request(method, path)
            assert refused.status_code == status
            assert models.ErrorAnswer.model_validate_json(refused.content).error.message
