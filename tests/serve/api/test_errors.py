"""One shape for every error."""

from __future__ import annotations

import msgspec
import pytest

from serve.api.errors import RequestError, error_body, exact, invalid


def test_a_refused_field_is_named_in_message_and_details() -> None:
    error = invalid("fills[2].price", "must be > 0, found -1")
    assert (error.status, error.code) == (422, "invalid_field")
    assert str(error) == error.message == "fills[2].price: must be > 0, found -1"
    assert msgspec.to_builtins(error.body()) == {
        "error": {
            "code": "invalid_field",
            "message": "fills[2].price: must be > 0, found -1",
            "details": {"field": "fills[2].price"},
        }
    }
    assert invalid("close", "is not finite", "not_finite").code == "not_finite"


def test_without_a_field_there_are_no_details() -> None:
    assert error_body("unknown_path", "no such path").error.details == {}
    assert RequestError(404, "unknown_path", "no such path").body().error.details == {}


def test_an_echo_is_short_and_can_be_encoded() -> None:
    error = RequestError(422, "unknown_field", "x" * 5_000, "y" * 5_000)
    assert error.field is not None
    assert (len(error.message), len(error.field)) == (300, 300)
    lonely = RequestError(400, "malformed_json", "half a pair: \ud800", "\udc00")
    assert msgspec.json.decode(msgspec.json.encode(lonely.body()))["error"] == {
        "code": "malformed_json",
        "message": "half a pair: ?",
        "details": {"field": "?"},
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [(300.0, "300"), (0.1, "0.1"), (1e-9, "1e-09"), (4_102_445_100.0, "4102445100")],
)
def test_numbers_are_written_so_that_they_are_equal_when_read(value: float, text: str) -> None:
    assert exact(value) == text
    assert float(text) == value
