"""The OpenAPI document is valid, covers every route and describes what is answered."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import msgspec
import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.features.table import FeatureTable
from serve.http.openapi import OPERATIONS, openapi_document
from serve.http.security import OPEN_PATHS, token_digest
from tests.serve.conftest import request_at
from tests.serve.local import Cluster, running
from tests.serve.test_state_api import bars_body, fill, fills_body

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
            found = {(path, method.lower()) for path in routes for method in routes[path]}
            assert found == {(o.path, o.method) for o in OPERATIONS}
            assert (await cluster.get("/openapi.json")).json() == DOCUMENT

    asyncio.run(work())


def test_a_token_is_part_of_the_document() -> None:
    document = json.loads(openapi_document(True))
    for operation in OPERATIONS:
        described = document["paths"][operation.path][operation.method]
        assert ("security" in described) is (operation.path not in OPEN_PATHS)
        assert ("401" in described["responses"]) is (operation.path not in OPEN_PATHS)
    assert token_digest("x" * 16)


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
            ]
            requests += [("POST", "/decide", request_at(table, t)) for t in range(310, 400, 5)]
            for method, path, body in requests:
                response = await ask(cluster, method, path, body)
                assert response.status_code == 200, response.text
                kind = next(o.answer for o in OPERATIONS if o.path == path)
                decoded = msgspec.json.decode(response.content, type=kind)
                if kind is not dict:  # nothing is answered that the type does not know
                    assert set(response.json()) == set(msgspec.to_builtins(decoded))
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
