"""Access: the token, and where the service may listen without one."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Final

from rllib_tactical.errors import ServiceError
from serve.api.errors import RequestError

TOKEN_VARIABLE: Final = "TACTICAL_TOKEN"
ADMIN_TOKEN_VARIABLE: Final = "TACTICAL_ADMIN_TOKEN"
ADMIN_PATHS: Final = "/admin/"
"""What paths begin with that need the admin token, where there is one."""

MIN_TOKEN_LENGTH: Final = 16
MAX_NAME_LENGTH: Final = 64
_SCHEME: Final = "bearer "


@lru_cache(maxsize=64)
def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach ``host``. A name other than localhost is not."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_strong_token(token: str, variable: str = TOKEN_VARIABLE) -> None:
    """Refuse a token that can be guessed, or that no header can carry.

    Raises:
        ServiceError: it is shorter than 16 characters or has others than printable ASCII.
    """
    if len(token) < MIN_TOKEN_LENGTH:
        raise ServiceError(
            f"{variable} must have at least {MIN_TOKEN_LENGTH} characters, found {len(token)}"
        )
    if not all("!" <= letter <= "~" for letter in token):
        raise ServiceError(f"{variable} must be printable ASCII without spaces")


def require_safe_binding(host: str, token: str | None) -> None:
    """Refuse to listen where others can reach the service without a token.

    Raises:
        ServiceError: no token on a host that is not loopback, or see ``require_strong_token``.
    """
    if token is not None:
        require_strong_token(token)
    if token is None and not is_loopback(host):
        raise ServiceError(
            f"host {host} can be reached from other machines: set {TOKEN_VARIABLE} to the token "
            "that requests have to carry, or listen on 127.0.0.1"
        )


def require_local_caller(headers: Mapping[bytes, bytes]) -> None:
    """Refuse what a web page in somebody's browser sends to a service that asks for no token.

    A browser lets any page send simple requests to this machine, and marks them: they have an
    ``Origin``, or say that they come from another site. A page whose own name was made to lead here
    gives that name as ``Host``.

    Args:
        headers: of the request, names in lower case.

    Raises:
        RequestError: 403.
    """
    site = headers.get(b"sec-fetch-site", b"none")
    host = headers.get(b"host", b"localhost").decode("latin-1")
    name = host.partition("]")[0][1:] if host.startswith("[") else host.partition(":")[0]
    if b"origin" in headers or site not in (b"none", b"same-origin") or not is_loopback(name):
        raise RequestError(
            403,
            "foreign_page",
            f"without a token the service answers programs on this machine alone, by the name of "
            f"127.0.0.1 or localhost and not from a web page: set {TOKEN_VARIABLE} for others",
        )


def require_same_site(headers: Mapping[bytes, bytes]) -> None:
    """Refuse an operator's order that a page of another site has a browser send.

    Raises:
        RequestError: 403.
    """
    if headers.get(b"sec-fetch-site", b"none") not in (b"none", b"same-origin"):
        text = "an operator's order must come from the service's own page or a program"
        raise RequestError(403, "foreign_page", text)


@contextmanager
def tokens_hidden() -> Iterator[None]:
    """Take the tokens out of the environment meanwhile: processes started in it have none."""
    names = (TOKEN_VARIABLE, ADMIN_TOKEN_VARIABLE)
    hidden = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


def token_digest(token: str) -> bytes:
    """Return what replicas keep instead of the token."""
    return hashlib.sha256(token.encode()).digest()


def token_name(variable: str, default: str) -> str:
    """Return what records call the holder of a token: the value of ``variable``_NAME, if set.

    Raises:
        ServiceError: it is longer than 64 characters or has others than printable ASCII.
    """
    name = os.environ.get(f"{variable}_NAME") or default
    if len(name) > MAX_NAME_LENGTH or not (name.isascii() and name.isprintable()):
        raise ServiceError(
            f"{variable}_NAME must be printable ASCII of at most {MAX_NAME_LENGTH} characters, "
            f"found {name!r}"
        )
    return name


def admin_token_digest(admin: str | None, token: str | None) -> bytes | None:
    """Return what replicas keep of the admin token, None without one.

    Raises:
        ServiceError: it is the other token or there is no other, or see ``require_strong_token``.
    """
    if not admin:
        return None
    require_strong_token(admin, ADMIN_TOKEN_VARIABLE)
    if token is None or admin == token:
        found = "none" if token is None else "the same"
        raise ServiceError(
            f"{TOKEN_VARIABLE} must be set apart from {ADMIN_TOKEN_VARIABLE}, found {found}"
        )
    return token_digest(admin)


def is_authorised(header: str | None, digest: bytes | None) -> bool:
    """Return whether an ``Authorization`` header carries the token, in constant time.

    Args:
        header: value of the header, ``Bearer TOKEN``; None when there is none.
        digest: of the expected token; None when no token is asked for.
    """
    if digest is None:
        return True
    if header is None or header[: len(_SCHEME)].lower() != _SCHEME:
        return False
    return hmac.compare_digest(token_digest(header[len(_SCHEME) :]), digest)
