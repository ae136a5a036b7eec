"""Why a body was refused: the field that is named, and keys that are given twice."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from serve.api.decode_errors import explain
from serve.api.errors import RequestError
from serve.api.write_requests import ModelRequest, OverrideRequest, read_body
from tests.serve.api.reading import read, refused


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"not json", b"\xff\xfe", b'{"matrix_state":', b'"\xed\xa0\x80"', b"{}{}"],
)
def test_a_body_that_is_not_json_is_malformed(body: bytes) -> None:
    error = refused(body)
    assert error.status in (400, 422)
    assert error.code in ("malformed_json", "invalid_field", "missing_field")


def test_deep_nesting_is_refused(request_body: dict[str, Any]) -> None:
    text = json.dumps(request_body)[:-1]
    nested = f'{text}, "synergy_context": {{"signal_sequence": {"[" * 100_000}'
    assert refused(nested.encode()).code == "malformed_json"
    assert refused(b"[" * 100_000).status in (400, 422)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('"atr_5min"', '"current_price": 3.0, "atr_5min"', "current_price"),
        ('"market_context"', '"market_context": {}, "market_context"', "market_context"),
        ('"matrix_state"', '"matrix_state": [], "matrix_state"', "matrix_state"),
        ('"atr_5min"', '"current\\u005fprice": 3.0, "atr_5min"', "current_price"),
    ],
)
def test_a_repeated_key_is_refused(
    request_body: dict[str, Any], old: str, new: str, key: str
) -> None:
    error = refused(json.dumps(request_body).replace(old, new, 1).encode())
    assert error.status in (400, 422)
    assert error.field == key


def test_a_repeated_key_is_found_when_the_matrix_comes_last(request_body: dict[str, Any]) -> None:
    matrix = request_body.pop("matrix_state")
    text = json.dumps({**request_body, "matrix_state": matrix})
    read(text.encode())
    assert refused(
        text.replace('{"market', '{"market_context": null, "market', 1).encode()
    ).code == ("duplicate_key")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (OverrideRequest, '{"action": "pause", "note": "matrix_state"}'),
        (OverrideRequest, '{"note": "matrix_state", "action": "pause"}'),
        (OverrideRequest, '{"request_id": "matrix_state", "action": "pause", "note": "x: [1]"}'),
        (ModelRequest, '{"path": "matrix_state"}'),
    ],
)
def test_the_matrixs_name_may_be_a_value(kind: type[Any], text: str) -> None:
    assert read_body(text.encode(), kind) == msgspec.json.decode(text, type=kind)
    repeated = text.replace("{", '{"action": "pause", ', 1)
    if kind is OverrideRequest:
        with pytest.raises(RequestError, match="action"):
            read_body(repeated.encode(), kind)


@pytest.mark.parametrize(
    ("body", "error", "expected"),
    [
        (
            b'{"bars": [{"open": 1.0}]}',
            "Object missing required field `close` - at `$.bars[0]`",
            (422, "missing_field", "bars[0].close", "bars[0].close: is required"),
        ),
        (
            b"{}",
            "Object contains unknown field `vix`",
            (422, "unknown_field", "vix", "vix: is not a known field"),
        ),
        (
            b'{"rows": [[1.0], [1.0, 2.0]]}',
            "Expected `array` of length 3 - at `$.rows[1]`",
            (
                422,
                "invalid_field",
                "rows[1]",
                "rows[1]: expected `array` of length 3, found length 2",
            ),
        ),
        (
            b"3",
            "Expected `object`, got `int`",
            (422, "invalid_field", "body", "body: expected `object`, got `int`"),
        ),
    ],
)
def test_what_the_decoder_says_becomes_a_field_and_a_sentence(
    body: bytes, error: str, expected: tuple[int, str, str, str]
) -> None:
    found = explain(body, msgspec.ValidationError(error))
    assert (found.status, found.code, found.field, found.message) == expected


def test_the_path_of_a_part_stands_before_the_field() -> None:
    error = msgspec.ValidationError("Expected `str`, got `int` - at `$.symbol`")
    assert explain(b"{}", error, "market_context").field == "market_context.symbol"


def test_a_number_that_is_not_finite_is_named_although_the_body_is_no_json() -> None:
    body = b'{"a": [1.0, {"b": -Infinity}]}'
    found = explain(body, msgspec.DecodeError("JSON is malformed"))
    assert (found.status, found.code, found.field) == (422, "not_finite", "a[1].b")
    broken = explain(b'{"a": NaN', msgspec.DecodeError("Input data was truncated"))
    assert (broken.status, broken.code, broken.field) == (400, "malformed_json", None)
