"""Who may ask: the token, and where the service may listen without one."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from typing import Final

from rllib_tactical.errors import ServiceError

TOKEN_VARIABLE: Final = "TACTICAL_TOKEN"
OPEN_PATHS: Final = frozenset({"/health", "/metrics", "/live", "/ready"})
MIN_TOKEN_LENGTH: Final = 16
_SCHEME: Final = "bearer "


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach ``host``. A name other than localhost is not."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_safe_binding(host: str, token: str | None) -> None:
    """Refuse to listen where others can reach the service without a token.

    Raises:
        ServiceError: no token on a host that is not loopback, or a token that can be guessed.
    """
    if token is not None and len(token) < MIN_TOKEN_LENGTH:
        raise ServiceError(
            f"{TOKEN_VARIABLE} must have at least {MIN_TOKEN_LENGTH} characters, found {len(token)}"
        )
    if token is None and not is_loopback(host):
        raise ServiceError(
            f"host {host} can be reached from other machines: set {TOKEN_VARIABLE} to the token "
            "that requests have to carry, or listen on 127.0.0.1"
        )


def token_digest(token: str) -> bytes:
    """Return what replicas keep instead of the token."""
    return hashlib.sha256(token.encode()).digest()


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
