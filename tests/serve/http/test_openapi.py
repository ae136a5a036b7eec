"""The OpenAPI document is valid, covers every route and describes what is answered."""

from __future__ import annotations

import asyncio
import json
import re
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import msgspec
import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.features.table import FeatureTable
from rllib_tactical.domain.types import Reason
from rllib_tactical.errors import ServiceError
from serve.api.operations import EVENTS, EXPLAIN, HEALTH, METRICS, OPERATIONS, STREAM_PATH
from serve.http.openapi import openapi_document
from tests.serve.conftest import request_at
from tests.serve.local import Cluster, running
from tests.serve.writes import bars_body, fill, fills_body

DOCUMENT: dict[str, Any] = json.loads(openapi_document(False))


def conforms(response: httpx.Response, path: str, method: str) -> None:
    """Check an answer against the document."""
    responses = DOCUMENT["paths"][path][method]["responses"]
    assert str(response.status_code) in responses, f"{path}: {response.text}"
    schema = responses[str(response.status_code)]["content"]["application/json"]["schema"]
    jsonschema.validate(
        response.json(),
        {**schema, "components": DOCUMENT["components"]},
        cls=jsonschema.Draft202012Validator,
    )


def test_every_route_is_described_and_nothing_else(bundle: Bundle, tmp_path: Path) -> None:
    async def work() -> None:
        async with running(bundle, tmp_path) as cluster:
            routes = cluster.apps[0]._routes
            found = {(path, method) for path in routes for method in routes[path]}
            known = {(path, o.method) for o in OPERATIONS for path in o.paths}
            assert found == known | {(path, "HEAD") for path, method in known if method == "GET"}
            assert (await cluster.get("/openapi.json")).json() == DOCUMENT

    asyncio.run(work())


def test_a_token_is_part_of_the_document() -> None:
    document = json.loads(openapi_document(True))
    for operation in OPERATIONS:
        described = document["paths"][operation.path][operation.method.lower()]
        assert ("security" in described) is not operation.is_open
        assert ("401" in described["responses"]) is not operation.is_open


def test_every_refusal_is_declared() -> None:
    for operation in OPERATIONS:
        responses = DOCUMENT["paths"][operation.path][operation.method.lower()]["responses"]
        assert {"404", "405", "500"} <= set(responses)
        assert ("403" in responses) is not operation.is_open
        for status, response in responses.items():
            assert response["description"] == HTTPStatus(int(status)).phrase
            schema = response["content"].get("application/json", {}).get("schema")
            if int(status) in operation.also:
                assert schema == responses["200"]["content"]["application/json"]["schema"]
            elif status != "200":
                assert schema == {"$ref": "#/components/schemas/ErrorAnswer"}


def test_a_reason_is_one_of_the_reasons_there_are() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    part = schemas["DecisionPart"]["properties"]["reason"]
    assert part == {"$ref": "#/components/schemas/ReasonCode"}
    assert set(schemas["ReasonCode"]["enum"]) == {reason.code for reason in Reason}


async def asked(app: Any, method: str, path: str) -> tuple[int, dict[bytes, bytes], bytes]:
    """Return status, headers and body as the application sends them: httpx hides a body of HEAD."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"127.0.0.1")]
    scope = {"type": "http", "method": method, "path": path, "query_string": b""}
    await app({**scope, "headers": headers}, receive, send)
    start, body = sent
    return start["status"], dict(start["headers"]), body["body"]


@pytest.mark.slow
def test_head_is_answered_as_get_without_the_body(bundle: Bundle, tmp_path: Path) -> None:
    async def work() -> None:
        async with running(bundle, tmp_path) as cluster:
            app = cluster.apps[0]
            for operation in OPERATIONS:
                if operation in (EVENTS, EXPLAIN):  # without an end; about a decision
                    continue
                path = operation.paths[0]
                status, headers, body = await asked(app, "HEAD", path)
                assert body == b""
                if operation.method == "POST":
                    assert (status, headers[b"allow"]) == (405, b"POST")
                    continue
                of_get = await asked(app, "GET", path)
                assert status == of_get[0] == 200
                if operation not in (HEALTH, METRICS):  # they are as long as their numbers
                    assert headers == of_get[1]
                    assert int(headers[b"content-length"]) == len(of_get[2]) > 0
            app._replica.availability.failed(ServiceError("the disk is full"))
            assert (await asked(app, "HEAD", "/ready"))[0] == 503
            assert (await asked(app, "HEAD", "/nowhere"))[0] == 404
            assert (await asked(app, "HEAD", "/events"))[::2] == (200, b"")

    asyncio.run(work())


def test_the_documentation_lists_every_operation(project_root: Path) -> None:
    text = (project_root / "docs" / "howto" / "service.md").read_text(encoding="utf-8")
    table = text.partition("| endpoint |")[2].partition("\n\n")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    listed = re.findall(r"`(?:(GET|POST) )?(/[^`?]*)", " ".join(rows))
    assert sorted(listed) == sorted([*((o.method, o.path) for o in OPERATIONS), ("", STREAM_PATH)])


@pytest.mark.slow
def test_answers_are_what_the_document_and_the_types_say(
    bundle: Bundle, table: FeatureTable, tmp_path: Path
) -> None:
    async def ask(cluster: Cluster, method: str, path: str, body: Any = None) -> httpx.Response:
        response = await cluster.clients[0].request(method, path, json=body)
        conforms(response, path, method.lower())
        return response

    async def work() -> None:
        async with running(bundle, tmp_path) as cluster:
            requests: list[tuple[str, str, Any]] = [
                ("POST", "/bars", bars_body(0, 400)),
                ("POST", "/bars", bars_body(403, 404)),
                ("POST", "/fills", fills_body(fill(1, "BUY", 1.0, 100.0))),
                ("POST", "/fills", fills_body(fill(2, "SELL", 1.0, 101.0))),
                ("POST", "/admin/override", {"action": "pause"}),
                ("POST", "/admin/override", {"action": "resume"}),
                ("POST", "/admin/model", {"path": str(bundle.path)}),
                ("POST", "/decide", {"symbol": "TEST"}),
                ("GET", "/performance", None),
                ("GET", "/model", None),
                ("GET", "/health", None),
                ("GET", "/live", None),
                ("GET", "/ready", None),
                ("GET", "/view", None),
                ("GET", "/day", None),
                ("GET", "/admin/audit", None),
            ]
            requests += [("POST", "/decide", request_at(table, t)) for t in range(310, 400, 5)]
            for method, path, body in requests:
                response = await ask(cluster, method, path, body)
                assert response.status_code == 200, response.text
                kind = next(o.answer for o in OPERATIONS if (o.path, o.method) == (path, method))
                decoded = msgspec.json.decode(response.content, type=kind)
                # nothing is answered that the type does not know
                assert response.json() == msgspec.to_builtins(decoded)
            for body in ({}, {"symbol": "X"}, {"matrix_state": []}):
                for path in ("/decide", "/bars", "/fills", "/admin/override", "/admin/model"):
                    refused = await ask(cluster, "POST", path, body)
                    assert refused.status_code == 422

    asyncio.run(work())


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.path)
def test_schemas_can_be_used(operation: Any) -> None:
    for name in DOCUMENT["components"]["schemas"]:
        schema = {
            "$ref": f"#/components/schemas/{name}",
            "components": DOCUMENT["components"],
        }
        jsonschema.Draft202012Validator.check_schema(schema)
    assert operation.path in DOCUMENT["paths"]
