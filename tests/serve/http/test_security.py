"""Who may ask: the token, and where the service may listen without one."""

from __future__ import annotations

import pytest

from rllib_tactical.errors import ServiceError
from serve.api.errors import RequestError
from serve.http.security import (
    TOKEN_VARIABLE,
    admin_token_digest,
    is_authorised,
    is_loopback,
    require_local_caller,
    require_safe_binding,
    token_digest,
    token_name,
)

TOKEN = "a-token-of-sufficient-length"


def test_a_token_has_a_name_for_records(monkeypatch: pytest.MonkeyPatch) -> None:
    assert token_name(TOKEN_VARIABLE, "token") == "token"
    monkeypatch.setenv(f"{TOKEN_VARIABLE}_NAME", "desk 7")
    assert token_name(TOKEN_VARIABLE, "token") == "desk 7"
    for wrong in ("x" * 65, "line\nbreak", "tür"):
        monkeypatch.setenv(f"{TOKEN_VARIABLE}_NAME", wrong)
        with pytest.raises(ServiceError, match="TACTICAL_TOKEN_NAME must be printable ASCII"):
            token_name(TOKEN_VARIABLE, "token")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_token(host: str) -> None:
    assert is_loopback(host)
    require_safe_binding(host, None)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "trading.example", ""])
def test_other_hosts_need_a_token(host: str) -> None:
    require_safe_binding(host, TOKEN)
    with pytest.raises(ServiceError, match=TOKEN_VARIABLE):
        require_safe_binding(host, None)


@pytest.mark.parametrize("token", ["passwörter-sind-lang", "with a space in it", "line\n" * 9])
def test_a_token_that_no_header_carries_is_refused(token: str) -> None:
    with pytest.raises(ServiceError, match="printable ASCII"):
        require_safe_binding("127.0.0.1", token)


def test_a_short_token_is_refused() -> None:
    with pytest.raises(ServiceError, match="at least 16"):
        require_safe_binding("127.0.0.1", "short")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (f"Bearer {TOKEN}", True),
        (f"bearer {TOKEN}", True),
        (f"Bearer {TOKEN} ", False),
        ("Bearer wrong", False),
        ("Bearer ", False),
        (f"Basic {TOKEN}", False),
        (TOKEN, False),
        (None, False),
    ],
)
def test_only_the_token_authorises(header: str | None, expected: bool) -> None:
    assert is_authorised(header, token_digest(TOKEN)) is expected
    assert is_authorised(header, None)


@pytest.mark.parametrize(
    ("headers", "local"),
    [
        ({}, True),
        ({b"host": b"127.0.0.1:8001"}, True),
        ({b"host": b"[::1]:8001", b"sec-fetch-site": b"same-origin"}, True),
        ({b"host": b"localhost", b"sec-fetch-site": b"none"}, True),
        ({b"host": b"127.0.0.1.evil.example"}, False),
        ({b"host": b"[::2]:8001"}, False),
        ({b"host": b"\xff"}, False),
        ({b"host": b"localhost", b"origin": b"http://localhost"}, False),
        ({b"host": b"localhost", b"sec-fetch-site": b"cross-site"}, False),
    ],
)
def test_without_a_token_only_programs_of_this_machine_are_answered(
    headers: dict[bytes, bytes], local: bool
) -> None:
    if local:
        require_local_caller(headers)
        return
    with pytest.raises(RequestError, match="set TACTICAL_TOKEN for others") as caught:
        require_local_caller(headers)
    assert (caught.value.status, caught.value.code) == (403, "foreign_page")


def test_replicas_keep_the_digest_and_not_the_token() -> None:
    assert token_digest("abc").hex() == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-4, appendix B
    )


def test_the_admin_token_is_strong_and_another_than_that_of_decisions() -> None:
    assert admin_token_digest(None, "t" * 16) is admin_token_digest("", None) is None
    assert admin_token_digest("a" * 16, "t" * 16) == token_digest("a" * 16)
    with pytest.raises(ServiceError, match="TACTICAL_ADMIN_TOKEN must have at least 16"):
        admin_token_digest("short", "t" * 16)
    for token, found in ((None, "none"), ("a" * 16, "the same")):
        with pytest.raises(ServiceError, match=f"TACTICAL_TOKEN must be set apart.*found {found}"):
            admin_token_digest("a" * 16, token)
