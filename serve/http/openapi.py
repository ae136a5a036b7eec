"""The OpenAPI document, made from the table of operations and the types of their bodies."""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from typing import Any, Final

import msgspec

from rllib_tactical import __version__
from serve.api.operations import JSON, OPERATIONS, Operation, Parameter, TextParameter
from serve.api.responses import ErrorAnswer

_REF: Final = "#/components/schemas/{name}"


@cache
def openapi_document(token: bool) -> bytes:
    """Return the document as JSON; ``token`` says whether requests have to carry one."""
    kinds: list[Any] = [ErrorAnswer]
    for operation in OPERATIONS:
        kinds += [kind for kind in (operation.request, operation.answer) if kind is not None]
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    schema_of = dict(zip(kinds, schemas, strict=True))
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        described = _operation(operation, schema_of, token)
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "Decision service",
            "description": "HEAD is answered wherever GET is, without the body.",
            "version": __version__,
        },
        "paths": paths,
        "components": {"schemas": components},
    }
    if token:
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    return msgspec.json.encode(document)


def _operation(operation: Operation[Any], schema_of: dict[Any, Any], token: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"summary": operation.summary, "operationId": operation.name}
    if token and not operation.is_open:
        found["security"] = [{"token": []}]
    if operation.request is not None:
        content = {JSON: {"schema": schema_of[operation.request]}}
        found["requestBody"] = {"required": True, "content": content}
    parameters = [_parameter(query) for query in operation.queries]
    if operation.part is not None:
        schema = {"type": "string", "enum": list(operation.part.names)}
        named = {"name": operation.part.name, "in": "path", "required": True, "schema": schema}
        parameters.append(named)
    if parameters:
        found["parameters"] = parameters
    answer = {operation.content_type: {"schema": schema_of[operation.answer]}}
    refusal = {JSON: {"schema": schema_of[ErrorAnswer]}}
    found["responses"] = {
        str(status): {"description": HTTPStatus(status).phrase, "content": answer}
        for status in (HTTPStatus.OK, *operation.also)
    } | {
        str(status): {"description": HTTPStatus(status).phrase, "content": refusal}
        for status in operation.refusals(token)
    }
    return found


def _parameter(query: Parameter | TextParameter) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string", "minLength": 1}
    if isinstance(query, TextParameter):
        schema["maxLength"] = query.longest
    else:
        schema = {
            "type": "integer",
            "minimum": query.minimum,
            "maximum": query.maximum,
            "default": query.default,
        }
    return {"name": query.name, "in": "query", "required": False, "schema": schema}
