"""Ask about the past in a process of its own: no decision waits while the journal is read."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from typing import Final

import msgspec

from serve.api.errors import error_body
from serve.http.asgi import HttpResponse, json_response
from serve.http.asking import unavailable

_LOG = logging.getLogger(__name__)

LIMIT_S: Final = 120.0
AT_ONCE: Final = 1
"""Processes at a time: the others wait for their turn."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What ``serve.dashboard.job`` is asked: a day of a symbol, or why a decision is what it is."""

    state: str
    symbol: str = ""
    day: str | None = None
    decision_id: str | None = None


class Past:
    """Answers what needs the journal.

    Args:
        state: what names the state, see ``store_name``.
    """

    def __init__(self, state: str) -> None:
        self._state = state
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def day(self, symbol: str, day: str | None) -> HttpResponse:
        """Return the answer of ``GET /day``."""
        return await self._ask(Question(state=self._state, symbol=symbol, day=day))

    async def why(self, decision_id: str) -> HttpResponse:
        """Return the answer of ``GET /explain``."""
        return await self._ask(Question(state=self._state, decision_id=decision_id))

    async def _ask(self, question: Question) -> HttpResponse:
        async with self._turn:
            try:
                done = await asyncio.to_thread(_run, question)
            except subprocess.TimeoutExpired:
                return unavailable(f"the journal was not read in {LIMIT_S:g} s")
        if done.returncode == 0:
            return HttpResponse(done.stdout)
        if done.returncode == REFUSED:
            status, code, text = msgspec.json.decode(done.stdout, type=tuple[int, str, str])
            return json_response(error_body(code, text), status)
        _LOG.error("the journal was not read: %s", done.stderr.decode(errors="replace")[-2000:])
        return unavailable("the journal cannot be read; see the service's log")


REFUSED: Final = 3
"""Exit code of a question that has no answer; the process says why."""


def _run(question: Question) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run(
        [sys.executable, "-m", "serve.dashboard.job"],
        input=msgspec.json.encode(question),  # not among the arguments: a URL may have a password
        capture_output=True,
        timeout=LIMIT_S,
        env=environment,
        check=False,
    )
