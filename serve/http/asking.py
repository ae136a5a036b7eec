"""Wait for the state, as long as a request may."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

from serve.api.errors import error_body
from serve.decision.writer import Reply
from serve.http.asgi import HttpResponse, json_response

_LOG = logging.getLogger(__name__)


async def ask(question: Awaitable[Reply], limit_s: float) -> HttpResponse:
    """Return the answer of the state, 503 when there is none after ``limit_s``."""
    try:
        status, body = await asyncio.wait_for(question, limit_s)
    except TimeoutError:
        _LOG.error("the state did not answer", extra={"fields": {"limit_s": limit_s}})
        return unavailable("the state did not answer in time; try again")
    return HttpResponse(body, status)


def unavailable(message: str) -> HttpResponse:
    """Return the answer that the state cannot be relied on."""
    return json_response(error_body("state_unavailable", message), 503)
