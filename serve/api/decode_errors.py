"""Why a request body was refused: the field, found by a second, slower look at the body."""

from __future__ import annotations

import json
import math
import re
from contextlib import suppress
from typing import Any, Final

import msgspec

from serve.api.errors import RequestError, invalid

_MATRIX_KEY: Final = b'"matrix_state"'
_MATRIX: Final = re.compile(rb'"matrix_state"\s*:\s*\[')
_PLACE: Final = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?$", re.DOTALL)
_NAMED: Final = re.compile(
    r"^Object (?P<how>missing required|contains unknown) field `(?P<name>.*)`$"
)

_STEP: Final = re.compile(r"([^.\[\]]+)(?![\d]*\])|\[(\d+)\]")


def explain(body: bytes, error: Exception, prefix: str = "") -> RequestError:
    """Return the error to answer for a body that msgspec refused.

    Args:
        body: the request body.
        error: what msgspec raised.
        prefix: path of the part that was being checked, when it was not the whole body.
    """
    if isinstance(error, msgspec.ValidationError):
        return _explain_shape(body, str(error), prefix)
    if isinstance(error, RecursionError):
        return RequestError(400, "malformed_json", "the body is nested too deeply")
    place = _non_finite_place(body)
    if place is not None:
        return invalid(place, "must be a finite number, found NaN or Infinity", "not_finite")
    return RequestError(400, "malformed_json", f"the body must be a JSON document: {error}")


def refuse_duplicate_keys(body: bytes) -> None:
    """Refuse a body with a repeated key: which of the two was meant cannot be known.

    The body has been decoded before, so it is valid JSON with a valid matrix. The matrix, most of
    the body, has no keys and is left out of the second look.

    Raises:
        RequestError: 400, naming the key if it is repeated.
    """
    matrix = _MATRIX.search(body)
    if matrix is not None and b"\\" not in body and body.count(_MATRIX_KEY) == 1:
        next_key = body.find(b'"', matrix.end())
        rest = b"0}" if next_key < 0 else b"0," + body[next_key:]
        body = body[: matrix.end() - 1] + rest
    try:
        _DECODE_UNIQUE(body.decode())
    except (ValueError, RecursionError) as error:
        raise RequestError(
            400, "malformed_json", f"the body nests too deeply or has too long a number: {error}"
        ) from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        name = next(name for name in names if names.count(name) > 1)
        raise RequestError(400, "duplicate_key", f"{name}: the key is given more than once", name)
    return found


_DECODE_UNIQUE: Final = json.JSONDecoder(object_pairs_hook=_unique).decode


def _explain_shape(body: bytes, text: str, prefix: str) -> RequestError:
    match = _PLACE.match(text)
    what, path = (match["what"], match["path"] or "") if match else (text, "")
    path = ".".join(part for part in (prefix, path) if part)
    named = _NAMED.match(what)
    if named:
        path = f"{path}.{named['name']}" if path else named["name"]
        if named["how"] == "missing required":
            return invalid(path, "is required", "missing_field")
        return invalid(path, "is not a known field", "unknown_field")
    if "out of range" in what:
        return invalid(path or "body", "the number is out of range", "not_finite")
    return invalid(path or "body", what[:1].lower() + what[1:] + _found_length(body, path, what))


def _found_length(body: bytes, path: str, what: str) -> str:
    """Return how long the array at ``path`` is; msgspec says only how long it has to be."""
    if "of length" not in what:
        return ""
    with suppress(ValueError, RecursionError, LookupError, TypeError):
        value = json.loads(body)
        for name, index in _STEP.findall(path):
            value = value[name] if name else value[int(index)]
        return f", found length {len(value)}"
    return ""


def _non_finite_place(body: bytes) -> str | None:
    """Return the path of the first NaN or Infinity when that alone makes the body no JSON."""
    try:
        return _find_non_finite(json.loads(body), "")
    except (ValueError, RecursionError):
        return None


def _find_non_finite(value: Any, path: str) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return path or "body"
    if isinstance(value, dict):
        children = ((f"{path}.{key}" if path else key, child) for key, child in value.items())
    elif isinstance(value, list):
        children = ((f"{path}[{i}]", child) for i, child in enumerate(value))
    else:
        return None
    return next((p for key, child in children if (p := _find_non_finite(child, key))), None)
