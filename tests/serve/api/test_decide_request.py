"""Every way in which a request can be wrong, and the field that the error names."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rllib_tactical.domain.features.table import FeatureTable
from serve.api.decide_request import DecideRequest
from serve.api.errors import RequestError
from tests.serve.api.reading import BASE_QUANTITY, read, refused
from tests.serve.conftest import request_at

SYNERGY = {"synergy_type": "TYPE_2", "direction": -1, "confidence": 0.5}
Change = Callable[[dict[str, Any]], object]


def test_a_good_request_is_read(request_body: dict[str, Any], table: FeatureTable) -> None:
    found = read({**request_body, "synergy_context": SYNERGY})
    np.testing.assert_array_equal(found.matrix, table.raw[241:301])
    assert (found.symbol, found.price, found.atr) == ("TEST", table.close[300], table.atr[300])
    assert (found.synergy_kind, found.synergy_direction) == (2, -1)


def test_every_window_of_real_features_is_in_range(table: FeatureTable) -> None:
    for t in range(59, len(table), 7):
        read(request_at(table, t))


def cell(row: int, column: int, value: Any) -> Change:
    return lambda body: body["matrix_state"][row].__setitem__(column, value)


def market(**values: Any) -> Change:
    return lambda body: body["market_context"].update(values)


def top(**values: Any) -> Change:
    return lambda body: body.update(values)


def synergy(**values: Any) -> Change:
    return top(synergy_context={**SYNERGY, **values})


def overrides(**values: Any) -> Change:
    return top(override_params=values)


FIELD_ERRORS: list[tuple[Change, str]] = [
    (lambda body: body.pop("matrix_state"), "matrix_state"),
    (lambda body: body["matrix_state"].pop(), "matrix_state"),
    (lambda body: body["matrix_state"].append([0.0] * 7), "matrix_state"),
    (lambda body: body["matrix_state"][4].pop(), "matrix_state[4]"),
    (lambda body: body["matrix_state"][4].append(0.0), "matrix_state[4]"),
    (top(matrix_state=None), "matrix_state"),
    (top(matrix_state={}), "matrix_state"),
    (cell(3, 2, "1.5"), "matrix_state[3][2]"),
    (cell(3, 2, True), "matrix_state[3][2]"),
    (cell(3, 2, None), "matrix_state[3][2]"),
    (cell(3, 2, [1.0]), "matrix_state[3][2]"),
    (cell(3, 2, float("nan")), "matrix_state[3][2]"),
    (cell(3, 2, float("-inf")), "matrix_state[3][2]"),
    (cell(3, 2, 10**400), "matrix_state[3][2]"),
    (cell(59, 0, 0.5), "matrix_state[59][0]"),
    (cell(59, 1, 2), "matrix_state[59][1]"),
    (cell(59, 2, -0.1), "matrix_state[59][2]"),
    (cell(59, 3, 61), "matrix_state[59][3]"),
    (cell(59, 3, 1.5), "matrix_state[59][3]"),
    (cell(59, 4, -1), "matrix_state[59][4]"),
    (cell(59, 5, 10.1), "matrix_state[59][5]"),
    (cell(59, 5, -10.1), "matrix_state[59][5]"),
    (cell(59, 6, -0.1), "matrix_state[59][6]"),
    (cell(59, 6, 10.6), "matrix_state[59][6]"),
    (top(extra=1), "extra"),
    (market(extra=1), "market_context.extra"),
    (lambda body: body.pop("market_context"), "market_context.symbol"),
    (lambda body: body["market_context"].pop("symbol"), "market_context.symbol"),
    (lambda body: body["market_context"].pop("current_price"), "market_context.current_price"),
    (lambda body: body["market_context"].pop("atr_5min"), "market_context.atr_5min"),
    (market(symbol="OTHER"), "market_context.symbol"),
    (market(symbol=""), "market_context.symbol"),
    (market(current_price=0), "market_context.current_price"),
    (market(current_price="28.5"), "market_context.current_price"),
    (market(current_price=None), "market_context.current_price"),
    (market(current_price=1e300), "market_context.current_price"),
    (market(current_price=float("inf")), "market_context.current_price"),
    (market(atr_5min=0), "market_context.atr_5min"),
    (market(atr_5min=False), "market_context.atr_5min"),
    (top(synergy_context={}), "synergy_context.synergy_type"),
    (synergy(synergy_type=""), "synergy_context.synergy_type"),
    (synergy(synergy_type=5), "synergy_context.synergy_type"),
    (synergy(direction=0), "synergy_context.direction"),
    (synergy(direction=True), "synergy_context.direction"),
    (synergy(confidence=1.01), "synergy_context.confidence"),
    (synergy(signal_sequence="fvg"), "synergy_context.signal_sequence"),
    (synergy(timestamp="yesterday"), "synergy_context.timestamp"),
    (synergy(extra=1), "synergy_context.extra"),
    (
        synergy(market_context={"current_price": "1"}),
        "synergy_context.market_context.current_price",
    ),
    (synergy(market_context={"current_price": 1.0}), "market_context.current_price"),
    (overrides(temperature=0.04), "override_params.temperature"),
    (overrides(temperature=10.1), "override_params.temperature"),
    (overrides(mode="random"), "override_params.mode"),
    (overrides(seed=-1), "override_params.seed"),
    (overrides(seed=2**64), "override_params.seed"),
    (overrides(execution_threshold=0.49), "override_params.execution_threshold"),
    (overrides(execution_threshold=1.1), "override_params.execution_threshold"),
    (overrides(base_quantity=0), "override_params.base_quantity"),
    (overrides(base_quantity=BASE_QUANTITY + 1), "override_params.base_quantity"),
    (overrides(max_leverage=100), "override_params.max_leverage"),
    (overrides(max_risk_per_trade=1), "override_params.max_risk_per_trade"),
]


@pytest.mark.parametrize(("change", "field"), FIELD_ERRORS)
def test_a_wrong_field_is_named(request_body: dict[str, Any], change: Change, field: str) -> None:
    change(request_body)
    error = refused(request_body)
    assert (error.status, error.field) == (422, field)
    assert error.body().error.details == {"field": field}
    assert error.message.startswith(f"{field}: ")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (cell(59, 5, 10.000000001), "must be in [-10, 10], found 10.000000001"),
        (overrides(base_quantity=BASE_QUANTITY + 1e-9), f"found {BASE_QUANTITY + 1e-9!r}"),
        (cell(59, 3, 61), "must be a whole number in [0, 60], found 61"),
    ],
)
def test_a_number_is_shown_as_it_is(
    request_body: dict[str, Any], change: Change, found: str
) -> None:
    change(request_body)
    assert refused(request_body).message.endswith(found)


def test_the_market_may_stand_in_the_synergy(request_body: dict[str, Any]) -> None:
    inner = request_body.pop("market_context")
    body = {**request_body, "synergy_context": {**SYNERGY, "market_context": {**inner, "vix": 18}}}
    assert read(body).price == inner["current_price"]
    body["market_context"] = {"current_price": inner["current_price"]}
    assert read(body).price == inner["current_price"]
    del body["synergy_context"]["market_context"]["atr_5min"]
    assert refused(body).field == "market_context.atr_5min"
    body["market_context"] = {"atr_5min": 0.25}
    assert read(body).atr == 0.25


NASTY_SEQUENCES = [
    "[" * 900 + "]" * 900,
    f"[{10**30}]",
    f"[{'9' * 5000}]",
    '["\\ud800"]',
    "[1e999]",
]


@pytest.mark.parametrize("sequence", NASTY_SEQUENCES)
def test_what_cannot_be_kept_is_refused_or_read(
    request_body: dict[str, Any], sequence: str
) -> None:
    request_body["synergy_context"] = {**SYNERGY, "signal_sequence": "HERE"}
    body = json.dumps(request_body).replace('"HERE"', sequence).encode()
    try:
        read(body)
    except RequestError as error:
        assert error.status in (400, 422)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(signals=st.lists(JSON_VALUES, max_size=4))
def test_a_signal_may_be_any_value(table: FeatureTable, signals: list[Any]) -> None:
    synergy = {**SYNERGY, "signal_sequence": signals}
    body = json.dumps({"synergy_context": synergy}).encode()
    try:
        untyped = msgspec.json.decode(body)["synergy_context"]["signal_sequence"]
    except msgspec.DecodeError:
        return
    typed = msgspec.json.decode(body, type=DecideRequest).synergy_context
    assert typed is not None
    assert msgspec.json.encode(typed.signal_sequence) == msgspec.json.encode(untyped)


@given(value=JSON_VALUES, data=st.data())
def test_any_value_anywhere_is_read_or_refused(
    table: FeatureTable, value: Any, data: st.DataObject
) -> None:
    body: Any = copy.deepcopy(request_at(table, 300, synergy_context=dict(SYNERGY)))
    place = body
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = value
    try:
        read(body)
    except RequestError as error:
        assert error.status in (400, 422)
        msgspec.json.encode(error.body())


@given(cut=st.integers(0, 5000), noise=st.binary(max_size=8))
def test_any_bytes_are_read_or_refused(table: FeatureTable, cut: int, noise: bytes) -> None:
    body = json.dumps(request_at(table, 300)).encode()
    try:
        read(body[:cut] + noise + body[cut + len(noise) :])
    except RequestError as error:
        assert error.status in (400, 422)


def test_canonical_form_ignores_order_and_white_space(request_body: dict[str, Any]) -> None:
    body = {**request_body, "synergy_context": SYNERGY, "override_params": {"mode": "sample"}}
    shuffled = {key: body[key] for key in reversed(body)}
    first = read(json.dumps(body).encode())
    second = read(json.dumps(shuffled, indent=3).encode())
    assert first.canonical == second.canonical
    assert first.canonical != read({**body, "synergy_context": None}).canonical
    assert first.canonical != read({**body, "override_params": {}}).canonical
