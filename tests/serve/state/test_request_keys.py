"""An id belongs to one request, as long as it is known."""

from __future__ import annotations

import pytest

from serve.api.errors import RequestError
from serve.state import request_keys
from serve.state.request_keys import RequestKeys, digest_of


def test_the_newest_ids_are_known_also_after_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_keys, "KEPT_KEYS", 3)
    keys, again = RequestKeys(), RequestKeys()
    for number in range(5):
        assert not keys.is_repeat(f"{number}", "x")
        keys.add(f"{number}", "x")
    again.resume(keys.image())
    for each in (keys, again):
        assert [each.is_repeat(f"{number}", "x") for number in range(5)] == [False] * 2 + [True] * 3
        with pytest.raises(RequestError, match="used for another request") as caught:
            each.is_repeat("3", "y")
        assert (caught.value.status, caught.value.code) == (409, "conflict")


def test_a_request_without_an_id_is_no_repeat() -> None:
    keys = RequestKeys()
    for absent in (None, ""):
        keys.add(absent, "x")
        assert not keys.is_repeat(absent, "y")


def test_a_digest_covers_the_content() -> None:
    assert digest_of({"a": 1}) == digest_of({"a": 1}) != digest_of({"a": 2})
