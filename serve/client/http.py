"""Typed clients of the service over HTTP, blocking and awaited.

Every request may be sent again: decisions change nothing, bars are known by their time, fills by
their id, an operator's order by a request id that the client makes up when none is given. So a
request without an answer, or with a 404, 502, 503 or 504, is repeated a few times with growing
pauses.

    with DecisionClient("http://127.0.0.1:8001", token=...) as client:
        client.send_bars("TEST", [bar])
        answer = client.decide(symbol="TEST")
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, TypeVar

import httpx

from rllib_tactical.errors import ServiceError
from serve.api.operations import JSON
from serve.client import calls
from serve.client.calls import (
    DEFAULT_TIMEOUT_S,
    RETRIED,
    Call,
    Retries,
    awaited,
    blocking,
    refusal,
    token_headers,
)

AnswerT = TypeVar("AnswerT")


class DecisionClient:
    """Calls the service and returns typed answers.

    Args:
        url: such as ``http://127.0.0.1:8001``.
        token: sent with every request when given.
        timeout_s: of one attempt; a reload has longer.
        retries: how a request without an answer is repeated.
        transport: what carries requests, for tests.

    Every call raises ``ServiceAnswerError`` when the service refuses it, and ``ServiceError`` when
    it cannot be reached.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retries: Retries | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._retries = retries or Retries()
        self._http = httpx.Client(
            base_url=url,
            headers=token_headers(token),
            timeout=timeout_s,
            transport=transport,
            trust_env=False,
        )

    decide = blocking(calls.decide)
    send_bars = blocking(calls.send_bars)
    send_fills = blocking(calls.send_fills)
    account = blocking(calls.account)
    override = blocking(calls.override)
    load_model = blocking(calls.load_model)
    model = blocking(calls.model)
    performance = blocking(calls.performance)
    experiment = blocking(calls.experiment)
    health = blocking(calls.health)

    def make(self, call: Call[AnswerT]) -> AnswerT:
        """Make a call; repeat it while it gets no answer."""
        attempts = _Attempts(self._retries, call)
        while True:
            try:
                response = self._http.request(**_request(call))
            except httpx.TransportError as error:
                pause_s = attempts.pause_after_error(error)
            else:
                if response.status_code not in RETRIED:
                    return call.read(response.status_code, response.content)
                pause_s = attempts.pause_after(response)
            time.sleep(pause_s)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> DecisionClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class AsyncDecisionClient:
    """``DecisionClient`` for an event loop: the same calls, awaited."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retries: Retries | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._retries = retries or Retries()
        self._http = httpx.AsyncClient(
            base_url=url,
            headers=token_headers(token),
            timeout=timeout_s,
            transport=transport,
            trust_env=False,
        )

    decide = awaited(calls.decide)
    send_bars = awaited(calls.send_bars)
    send_fills = awaited(calls.send_fills)
    account = awaited(calls.account)
    override = awaited(calls.override)
    load_model = awaited(calls.load_model)
    model = awaited(calls.model)
    performance = awaited(calls.performance)
    experiment = awaited(calls.experiment)
    health = awaited(calls.health)

    async def make(self, call: Call[AnswerT]) -> AnswerT:
        """Make a call; repeat it while it gets no answer."""
        attempts = _Attempts(self._retries, call)
        while True:
            try:
                response = await self._http.request(**_request(call))
            except httpx.TransportError as error:
                pause_s = attempts.pause_after_error(error)
            else:
                if response.status_code not in RETRIED:
                    return call.read(response.status_code, response.content)
                pause_s = attempts.pause_after(response)
            await asyncio.sleep(pause_s)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> AsyncDecisionClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


class _Attempts:
    """The attempts that a call has left."""

    def __init__(self, retries: Retries, call: Call[Any]) -> None:
        self._pauses: Iterator[float] = retries.pauses()
        self._call = call

    def pause_after(self, response: httpx.Response) -> float:
        """Return how long to wait after an answer that another attempt may improve.

        Raises:
            ServiceAnswerError: no attempt is left.
        """
        pause_s = next(self._pauses, None)
        if pause_s is None:
            raise refusal(response.status_code, response.content)
        return pause_s

    def pause_after_error(self, error: httpx.TransportError) -> float:
        """Return how long to wait after an attempt without an answer.

        Raises:
            ServiceError: no attempt is left.
        """
        pause_s = next(self._pauses, None)
        if pause_s is None:
            raise ServiceError(f"{self._call} got no answer: {error!r}") from error
        return pause_s


def _request(call: Call[Any]) -> dict[str, Any]:
    """Return a call as the arguments of httpx."""
    operation = call.operation
    given: dict[str, Any] = {
        "method": operation.method,
        "url": operation.path,
        "params": call.params,
    }
    if call.body is not None:
        given["content"] = call.content()
        given["headers"] = {"content-type": JSON}
    if call.timeout_s is not None:
        given["timeout"] = call.timeout_s
    return given
