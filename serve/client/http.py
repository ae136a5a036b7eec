"""A typed client of the service, blocking and asynchronous.

Every request may be sent again: decisions change nothing, bars are known by their time, fills by
their id, an operator's order by a request id that is made up when none is given. So a request that
got no answer, or a 502, 503 or 504, is repeated a few times with growing pauses.

    with DecisionClient("http://127.0.0.1:8001", token=...) as client:
        client.send_bars("TEST", [bar])
        answer = client.decide(symbol="TEST")
"""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, TypeVar

import httpx
import msgspec
import numpy as np

from rllib_tactical.domain.types import FloatArray
from rllib_tactical.errors import ServiceError
from serve.api import responses as answers
from serve.api.write_requests import BarInput, FillInput

RETRIED: Final = frozenset({404, 502, 503, 504})
"""404 too: the service has every path that is called here, only a proxy without it has not."""

DEFAULT_TIMEOUT_S: Final = 5.0
RELOAD_TIMEOUT_S: Final = 120.0

Body = TypeVar("Body")
Matrix = Sequence[Sequence[float]] | FloatArray


class ServiceAnswerError(ServiceError):
    """The service refused a request. ``code`` and ``field`` are those of its answer."""

    def __init__(self, status: int, code: str, message: str, field: str | None) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code, self.message, self.field = status, code, message, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How often a request is repeated, and the pauses between: doubled each time, up to a limit.

    Each pause is drawn at random from its second half, so that clients do not come back together.
    """

    count: int = 4
    first_pause_s: float = 0.05
    longest_pause_s: float = 2.0

    def pauses(self) -> Iterator[float]:
        """Yield the seconds to wait before each repetition."""
        for i in range(self.count):
            longest = min(self.first_pause_s * 2.0**i, self.longest_pause_s)
            yield longest * random.uniform(0.5, 1.0)


@dataclass(frozen=True, slots=True)
class _Call:
    method: str
    path: str
    kind: Any
    body: Any = None
    params: Mapping[str, str] | None = None
    timeout_s: float | None = None

    def arguments(self) -> dict[str, Any]:
        given: dict[str, Any] = {"params": self.params}
        if self.body is not None:
            given["content"] = encoded(self.body)
            given["headers"] = {"content-type": "application/json"}
        if self.timeout_s is not None:
            given["timeout"] = self.timeout_s
        return given


class _Calls:
    """The calls, without the way they are made."""

    @staticmethod
    def decide(
        matrix_state: Matrix | None,
        symbol: str | None,
        market_context: Mapping[str, Any] | None,
        synergy_context: Mapping[str, Any] | None,
        override_params: Mapping[str, Any] | None,
    ) -> _Call:
        body = decide_body(matrix_state, symbol, market_context, synergy_context, override_params)
        return _Call("POST", "/decide", answers.DecideAnswer, body)

    @staticmethod
    def bars(symbol: str, bars: Sequence[BarInput]) -> _Call:
        body = {"symbol": symbol, "bars": list(bars)}
        return _Call("POST", "/bars", answers.BarsAnswer, body)

    @staticmethod
    def fills(symbol: str, fills: Sequence[FillInput]) -> _Call:
        body = {"symbol": symbol, "fills": list(fills)}
        return _Call("POST", "/fills", answers.FillsAnswer, body)

    @staticmethod
    def override(action: str, note: str, request_id: str | None) -> _Call:
        body = {"action": action, "note": note, "request_id": request_id or uuid.uuid4().hex}
        return _Call("POST", "/admin/override", answers.OverrideAnswer, body)

    @staticmethod
    def model(path: str, bundle_id: str | None) -> _Call:
        body = {"path": path, "bundle_id": bundle_id}
        kind = answers.ModelAnswer
        return _Call("POST", "/admin/model", kind, body, timeout_s=RELOAD_TIMEOUT_S)

    @staticmethod
    def performance(days: int) -> _Call:
        kind = answers.PerformanceAnswer
        return _Call("GET", "/performance", kind, params={"days": str(days)})

    @staticmethod
    def health() -> _Call:
        return _Call("GET", "/health", answers.HealthAnswer)


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

    def __enter__(self) -> DecisionClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def decide(
        self,
        matrix_state: Matrix | None = None,
        symbol: str | None = None,
        market_context: Mapping[str, Any] | None = None,
        synergy_context: Mapping[str, Any] | None = None,
        override_params: Mapping[str, Any] | None = None,
    ) -> answers.DecideAnswer:
        """Ask for a decision on a matrix, or with ``symbol`` alone on the bars sent before."""
        call = _Calls.decide(matrix_state, symbol, market_context, synergy_context, override_params)
        answer: answers.DecideAnswer = self._make(call)
        return answer

    def send_bars(self, symbol: str, bars: Sequence[BarInput]) -> answers.BarsAnswer:
        """Send closed bars, oldest first."""
        answer: answers.BarsAnswer = self._make(_Calls.bars(symbol, bars))
        return answer

    def send_fills(self, symbol: str, fills: Sequence[FillInput]) -> answers.FillsAnswer:
        """Send what the broker did, in the order in which it happened."""
        answer: answers.FillsAnswer = self._make(_Calls.fills(symbol, fills))
        return answer

    def override(
        self, action: str, note: str = "", request_id: str | None = None
    ) -> answers.OverrideAnswer:
        """Give an operator's order: pause, resume, flatten or force_hold."""
        answer: answers.OverrideAnswer = self._make(_Calls.override(action, note, request_id))
        return answer

    def load_model(self, path: str, bundle_id: str | None = None) -> answers.ModelAnswer:
        """Exchange the bundle for the one at ``path``, as the service's machines see it."""
        answer: answers.ModelAnswer = self._make(_Calls.model(path, bundle_id))
        return answer

    def performance(self, days: int = 30) -> answers.PerformanceAnswer:
        """Return the trading figures of the last days."""
        answer: answers.PerformanceAnswer = self._make(_Calls.performance(days))
        return answer

    def health(self) -> answers.HealthAnswer:
        """Return components, latencies and alerts."""
        answer: answers.HealthAnswer = self._make(_Calls.health())
        return answer

    def _make(self, call: _Call) -> Any:
        pauses = self._retries.pauses()
        while True:
            try:
                response = self._http.request(call.method, call.path, **call.arguments())
            except httpx.TransportError as error:
                pause = _next_pause(pauses, error, call)
            else:
                if response.status_code not in RETRIED:
                    return _read(response, call)
                pause = _next_pause(pauses, response, call)
            time.sleep(pause)


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

    async def __aenter__(self) -> AsyncDecisionClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def decide(
        self,
        matrix_state: Matrix | None = None,
        symbol: str | None = None,
        market_context: Mapping[str, Any] | None = None,
        synergy_context: Mapping[str, Any] | None = None,
        override_params: Mapping[str, Any] | None = None,
    ) -> answers.DecideAnswer:
        """Ask for a decision on a matrix, or with ``symbol`` alone on the bars sent before."""
        call = _Calls.decide(matrix_state, symbol, market_context, synergy_context, override_params)
        answer: answers.DecideAnswer = await self._make(call)
        return answer

    async def send_bars(self, symbol: str, bars: Sequence[BarInput]) -> answers.BarsAnswer:
        """Send closed bars, oldest first."""
        answer: answers.BarsAnswer = await self._make(_Calls.bars(symbol, bars))
        return answer

    async def send_fills(self, symbol: str, fills: Sequence[FillInput]) -> answers.FillsAnswer:
        """Send what the broker did, in the order in which it happened."""
        answer: answers.FillsAnswer = await self._make(_Calls.fills(symbol, fills))
        return answer

    async def override(
        self, action: str, note: str = "", request_id: str | None = None
    ) -> answers.OverrideAnswer:
        """Give an operator's order: pause, resume, flatten or force_hold."""
        call = _Calls.override(action, note, request_id)
        answer: answers.OverrideAnswer = await self._make(call)
        return answer

    async def load_model(self, path: str, bundle_id: str | None = None) -> answers.ModelAnswer:
        """Exchange the bundle for the one at ``path``, as the service's machines see it."""
        answer: answers.ModelAnswer = await self._make(_Calls.model(path, bundle_id))
        return answer

    async def performance(self, days: int = 30) -> answers.PerformanceAnswer:
        """Return the trading figures of the last days."""
        answer: answers.PerformanceAnswer = await self._make(_Calls.performance(days))
        return answer

    async def health(self) -> answers.HealthAnswer:
        """Return components, latencies and alerts."""
        answer: answers.HealthAnswer = await self._make(_Calls.health())
        return answer

    async def _make(self, call: _Call) -> Any:
        pauses = self._retries.pauses()
        while True:
            try:
                response = await self._http.request(call.method, call.path, **call.arguments())
            except httpx.TransportError as error:
                pause = _next_pause(pauses, error, call)
            else:
                if response.status_code not in RETRIED:
                    return _read(response, call)
                pause = _next_pause(pauses, response, call)
            await asyncio.sleep(pause)


def token_headers(token: str | None) -> dict[str, str]:
    """Return the headers that carry a token."""
    return {} if token is None else {"authorization": f"Bearer {token}"}


def decide_body(
    matrix_state: Matrix | None,
    symbol: str | None,
    market_context: Mapping[str, Any] | None,
    synergy_context: Mapping[str, Any] | None,
    override_params: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return the body of ``POST /decide`` with what was given."""
    given = {
        "matrix_state": matrix_state,
        "symbol": symbol,
        "market_context": market_context,
        "synergy_context": synergy_context,
        "override_params": override_params,
    }
    return {name: value for name, value in given.items() if value is not None}


def encoded(body: Any) -> bytes:
    """Return a body as JSON; arrays and numbers of NumPy are allowed in it.

    Raises:
        ServiceError: it holds something that JSON cannot.
    """
    return msgspec.json.encode(body, enc_hook=_plain)


def _plain(value: Any) -> Any:
    """Return an array or a number of NumPy as JSON has them.

    Raises:
        ServiceError: it is something else.
    """
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise ServiceError(f"a request holds JSON and NumPy values, found {type(value).__name__}")


def _next_pause(
    pauses: Iterator[float], outcome: httpx.Response | httpx.TransportError, call: _Call
) -> float:
    """Return how long to wait before the next attempt.

    Raises:
        ServiceError: there is none left.
    """
    pause = next(pauses, None)
    if pause is not None:
        return pause
    if isinstance(outcome, httpx.Response):
        raise _refusal(outcome)
    raise ServiceError(f"{call.method} {call.path} got no answer: {outcome!r}") from outcome


def _read(response: httpx.Response, call: _Call) -> Any:
    if response.status_code != httpx.codes.OK:
        raise _refusal(response)
    try:
        return msgspec.json.decode(response.content, type=call.kind)
    except msgspec.DecodeError as error:
        raise ServiceError(f"{call.path} answered something else: {error}") from error


def _refusal(response: httpx.Response) -> ServiceAnswerError:
    try:
        found = msgspec.json.decode(response.content, type=answers.ErrorAnswer).error
    except msgspec.DecodeError:
        text = response.text[:200]
        return ServiceAnswerError(response.status_code, "unknown", text, None)
    field = found.details.get("field")
    return ServiceAnswerError(response.status_code, found.code, found.message, field)
