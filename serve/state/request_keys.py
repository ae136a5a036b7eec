"""Ids that clients give to requests, so that a repeated one counts once."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec

from serve.api.errors import RequestError

KEPT_KEYS: Final = 4_096
"""Newest ids that are known; an older one counts as new."""


class RequestKeys:
    """Ids of one kind of request, each with the digest of the request that it belongs to."""

    def __init__(self) -> None:
        self._digests: dict[str, str] = {}  # oldest first

    def image(self) -> dict[str, str]:
        """Return what ``resume`` needs to go on from here."""
        return self._digests

    def resume(self, image: dict[str, str]) -> None:
        """Go on from where ``image`` was made."""
        self._digests = {}
        for request_id, digest in image.items():
            self.add(request_id, digest)

    def is_repeat(self, request_id: str | None, digest: str) -> bool:
        """Return whether the request of this id was accepted before.

        Raises:
            RequestError: 409 when the id was used for another request.
        """
        known = self._digests.get(request_id or "")
        if known is not None and known != digest:
            text = "request_id: it was used for another request"
            raise RequestError(409, "conflict", text, "request_id")
        return known is not None

    def add(self, request_id: str | None, digest: str) -> None:
        """Note a request that was accepted; one without an id is not known later."""
        if request_id:
            self._digests[request_id] = digest
            if len(self._digests) > KEPT_KEYS:
                del self._digests[next(iter(self._digests))]


def digest_of(request: Any) -> str:
    """Return the SHA-256 (hexadecimal) of a request's content."""
    return hashlib.sha256(msgspec.json.encode(request)).hexdigest()


def not_in_force(what: str, field: str = "request_id") -> RequestError:
    """Return the refusal to repeat what was ordered before and does not apply any more."""
    return RequestError(409, "no_longer_in_force", f"{field}: {what}", field)
