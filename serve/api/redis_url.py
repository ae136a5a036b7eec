"""The address of a Redis or Valkey server, with the name under which we keep things there."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

SCHEMES: Final = ("redis://", "rediss://", "unix://")


def is_redis(where: str) -> bool:
    """Return whether ``where`` is the URL of a server, not a folder."""
    return where.startswith(SCHEMES)


def split_name(url: str) -> tuple[str, str]:
    """Return the address and the name of ``ADDRESS#NAME``; the name is empty without one."""
    address, _, name = url.partition("#")
    return address, name


def without_password(address: str) -> str:
    """Return an address for messages."""
    login, at, _ = urlsplit(address).netloc.rpartition("@")
    return address.replace(login + at, "", 1) if at else address
