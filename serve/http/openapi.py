"""The OpenAPI document, made from the types that the service itself decodes and answers with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import msgspec

from rllib_tactical import __version__
from serve.api import responses as answers
from serve.api.decide_request import DecideRequest
from serve.api.write_requests import BarsRequest, FillsRequest, ModelRequest, OverrideRequest
from serve.http.security import OPEN_PATHS

MAX_DAYS: Final = 3650
_REF: Final = "#/components/schemas/{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One path and method. ``answer`` None: Prometheus text; ``dict``: an object as it comes."""

    path: str
    method: str
    summary: str
    answer: Any
    request: Any = None
    errors: tuple[int, ...] = ()


_WRITE_ERRORS: Final = (400, 409, 413, 415, 422, 503)
OPERATIONS: Final = (
    Operation(
        path="/decide",
        method="post",
        summary="Votes, decision and order",
        request=DecideRequest,
        answer=answers.DecideAnswer,
        errors=(400, 409, 413, 415, 422),
    ),
    Operation(
        path="/bars",
        method="post",
        summary="Take closed bars",
        request=BarsRequest,
        answer=answers.BarsAnswer,
        errors=_WRITE_ERRORS,
    ),
    Operation(
        path="/fills",
        method="post",
        summary="Take what the broker did",
        request=FillsRequest,
        answer=answers.FillsAnswer,
        errors=_WRITE_ERRORS,
    ),
    Operation(
        path="/admin/override",
        method="post",
        summary="Pause, resume, flatten, force hold",
        request=OverrideRequest,
        answer=answers.OverrideAnswer,
        errors=_WRITE_ERRORS,
    ),
    Operation(
        path="/admin/model",
        method="post",
        summary="Exchange the bundle",
        request=ModelRequest,
        answer=answers.ModelAnswer,
        errors=_WRITE_ERRORS,
    ),
    Operation(
        path="/performance",
        method="get",
        summary="Trading figures from the fills",
        answer=answers.PerformanceAnswer,
        errors=(422, 503),
    ),
    Operation(path="/model", method="get", summary="The bundle's public manifest", answer=dict),
    Operation(path="/openapi.json", method="get", summary="This document", answer=dict),
    Operation(
        path="/health", method="get", summary="Components and alerts", answer=answers.HealthAnswer
    ),
    Operation(
        path="/live", method="get", summary="The process answers", answer=answers.StatusAnswer
    ),
    Operation(
        path="/ready",
        method="get",
        summary="Decisions rely on a current state",
        answer=answers.StatusAnswer,
        errors=(503,),
    ),
    Operation(path="/metrics", method="get", summary="Prometheus metrics", answer=None),
)


@cache
def openapi_document(token: bool) -> bytes:
    """Return the document as JSON; ``token`` says whether requests have to carry one."""
    kinds = [kind for o in OPERATIONS for kind in (o.request, o.answer) if kind not in (None, dict)]
    kinds.append(answers.ErrorAnswer)
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    named = dict(zip(kinds, schemas, strict=True))
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation, named, token)
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "Decision service", "version": __version__},
        "paths": paths,
        "components": {"schemas": components},
    }
    if token:
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    return msgspec.json.encode(document)


def _operation(operation: Operation, named: dict[Any, Any], token: bool) -> dict[str, Any]:
    errors = operation.errors
    found: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": f"{operation.method}{operation.path.replace('/', '_').replace('.', '_')}",
    }
    if operation.path not in OPEN_PATHS:
        errors = (*errors, 401 if token else 403)
        if token:
            found["security"] = [{"token": []}]
    if operation.request is not None:
        body = {"application/json": {"schema": named[operation.request]}}
        found["requestBody"] = {"required": True, "content": body}
    if operation.path == "/performance":
        limits = {"type": "integer", "minimum": 1, "maximum": MAX_DAYS, "default": 30}
        found["parameters"] = [{"name": "days", "in": "query", "required": False, "schema": limits}]
    if operation.answer is None:
        content = {"text/plain": {"schema": {"type": "string"}}}
    else:
        schema = {"type": "object"} if operation.answer is dict else named[operation.answer]
        content = {"application/json": {"schema": schema}}
    refused = {"application/json": {"schema": named[answers.ErrorAnswer]}}
    found["responses"] = {"200": {"description": "Done", "content": content}} | {
        str(status): {"description": "Refused", "content": refused} for status in sorted(errors)
    }
    return found
