"""The calls of the service, described once for all clients."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rllib_tactical.domain.decision.override import Control
from rllib_tactical.errors import ServiceError
from serve.api.responses import OverrideAnswer
from serve.client import (
    AsyncDecisionClient,
    DecisionClient,
    DecisionStream,
    Retries,
    calls,
)


def test_every_operation_with_a_typed_answer_is_a_method_of_both_clients() -> None:
    """What a person sees of a method: its arguments after ``self``, and its documentation."""
    for describe in (
        calls.decide,
        calls.send_bars,
        calls.send_fills,
        calls.account,
        calls.override,
        calls.load_model,
        calls.performance,
        calls.experiment,
        calls.health,
    ):
        for client in (DecisionClient, AsyncDecisionClient):
            method = getattr(client, describe.__name__)
            assert method.__doc__ == describe.__doc__
            names = list(inspect.signature(method).parameters)
            assert names == ["self", *inspect.signature(describe).parameters]
    assert inspect.iscoroutinefunction(AsyncDecisionClient.decide)
    assert not inspect.iscoroutinefunction(DecisionClient.decide)
    assert DecisionStream.decide.__doc__ == calls.decide.__doc__


def test_pauses_grow_and_are_spread() -> None:
    retries = Retries(count=8, first_pause_s=0.1, longest_pause_s=1.0)
    for _ in range(20):
        for i, pause in enumerate(retries.pauses()):
            longest = min(0.1 * 2**i, 1.0)
            assert longest / 2 <= pause <= longest


def test_a_body_may_hold_numbers_and_arrays_of_numpy() -> None:
    matrix = np.arange(4.0).reshape(2, 2)
    call = calls.decide(matrix, market_context={"atr_5min": np.float32(0.5)})
    assert json.loads(call.content()) == {
        "matrix_state": [[0.0, 1.0], [2.0, 3.0]],
        "market_context": {"atr_5min": 0.5},  # what is None is not sent
    }
    with pytest.raises(ServiceError, match="must hold JSON or NumPy values, found object"):
        calls.decide(market_context={"atr_5min": object()}).content()


def test_an_order_has_an_id_of_its_own_unless_one_is_given() -> None:
    first, second = (calls.override("pause").body["request_id"] for _ in range(2))
    assert first != second
    named = calls.override("flatten", "closing early", "desk-7")
    assert named.body == {"action": "flatten", "note": "closing early", "request_id": "desk-7"}
    assert str(named) == "POST /admin/override"
    chosen = calls.load_model("bundles/a", note="it earns more", by="ann").body
    assert (chosen["note"], chosen["by"]) == ("it earns more", "ann")
    described: list[Callable[..., Any]] = [
        lambda **more: calls.send_bars("TEST", [], revise=True, **more),
        lambda **more: calls.load_model("bundles/a", **more),
        lambda **more: calls.account("TEST", "ann", "a deposit", **more),
    ]
    for describe in described:
        first, second = (describe().body["request_id"] for _ in range(2))
        assert first != second
        assert describe(request_id="desk-8").body["request_id"] == "desk-8"
    assert "request_id" not in calls.send_bars("TEST", []).body


def test_what_is_asked_for_stands_in_the_query_or_takes_its_time() -> None:
    assert calls.performance(7).params == {"days": "7"}
    assert calls.performance().params == {"days": "30"}
    assert calls.performance(symbol="ES").params == {"days": "30", "symbol": "ES"}
    assert calls.override("pause", symbol="ES").body["symbol"] == "ES"
    assert calls.health().timeout_s is None
    timeout_s = calls.load_model("bundles/a").timeout_s
    assert timeout_s is not None
    assert timeout_s > calls.DEFAULT_TIMEOUT_S


def test_answers_are_read_as_the_type_of_the_operation() -> None:
    call = calls.override("pause")
    answer = call.read(200, b'{"override": "pause", "repeated": true, "version": 4}')
    assert answer == OverrideAnswer(Control.PAUSE, True, 4)
    with pytest.raises(ServiceError, match="POST /admin/override answered something else"):
        call.read(200, b'{"override": "stop"}')


@pytest.mark.parametrize(
    ("status", "content", "expected"),
    [
        (
            422,
            b'{"error": {"code": "missing_field", "message": "m", "details": {"field": "bars"}}}',
            ("missing_field", "m", "bars"),
        ),
        (
            503,
            b'{"error": {"code": "state_unavailable", "message": "m", "details": {}}}',
            ("state_unavailable", "m", None),
        ),
        (502, "<h1>Bad Gateway</h1>" + " " * 500, ("unknown", "<h1>Bad Gateway</h1>", None)),
        (500, b"\xff", ("unknown", "\ufffd", None)),
    ],
)
def test_a_refusal_keeps_what_the_service_says(
    status: int, content: bytes | str, expected: tuple[str, str, str | None]
) -> None:
    error = calls.refusal(status, content)
    assert (error.code, error.message.rstrip(), error.field) == expected
    assert error.status == status
    assert str(error).startswith(f"{status} {error.code}: ")


def test_a_token_travels_in_a_header() -> None:
    assert calls.token_headers(None) == {}
    assert calls.token_headers("secret") == {"authorization": "Bearer secret"}
