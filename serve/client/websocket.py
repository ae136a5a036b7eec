"""A typed client of the service's WebSocket, for the one caller that asks again and again.

It saves a request's headers. The connection stays with one replica; when that ends, or an answer
takes too long, the next attempt connects anew, which may repeat a decision: that changes nothing.

    with DecisionStream("http://127.0.0.1:8001", token=...) as stream:
        answer = stream.decide(symbol="TEST")
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Any, Final

import msgspec
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.frames import CloseCode
from websockets.sync.client import ClientConnection, connect

from rllib_tactical.errors import ServiceError
from serve.api.responses import DecideAnswer, ErrorAnswer
from serve.client.http import (
    DEFAULT_TIMEOUT_S,
    RETRIED,
    Matrix,
    Retries,
    ServiceAnswerError,
    decide_body,
    encoded,
    token_headers,
)

PATH: Final = "/ws"
NO_STATUS: Final = 0
"""``status`` of a refusal on an open stream, whose answers have none; its ``code`` tells."""

_DECODE: Final = msgspec.json.Decoder(DecideAnswer).decode
_DECODE_ERROR: Final = msgspec.json.Decoder(ErrorAnswer).decode


class DecisionStream:
    """Asks for decisions over one connection. Not for several threads at a time.

    Args:
        url: such as ``http://127.0.0.1:8001``.
        token: sent when a connection is opened.
        timeout_s: for opening it, and for each answer.
        retries: how a request without an answer is repeated.

    Raises:
        ServiceError: the address is not one of http or https.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retries: Retries | None = None,
    ) -> None:
        scheme, _, place = url.rstrip("/").partition("://")
        if scheme not in ("http", "https"):
            raise ServiceError(f"url must begin with http:// or https://, found {url!r}")
        self._address = f"{scheme.replace('http', 'ws')}://{place}{PATH}"
        self._headers, self._timeout_s = token_headers(token), timeout_s
        self._retries = retries or Retries()
        self._connection: ClientConnection | None = None
        self._open = ExitStack()

    def __enter__(self) -> DecisionStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next decision opens another one."""
        self._connection = None
        with suppress(OSError, WebSocketException):
            self._open.close()

    def decide(
        self,
        matrix_state: Matrix | None = None,
        symbol: str | None = None,
        market_context: Mapping[str, Any] | None = None,
        synergy_context: Mapping[str, Any] | None = None,
        override_params: Mapping[str, Any] | None = None,
    ) -> DecideAnswer:
        """Ask for a decision on a matrix, or with ``symbol`` alone on the bars sent before.

        Raises:
            ServiceAnswerError: the service refuses the connection or the request.
            ServiceError: it cannot be reached.
        """
        body = decide_body(matrix_state, symbol, market_context, synergy_context, override_params)
        message = encoded(body).decode()
        pauses = self._retries.pauses()
        while True:
            try:
                answer = self._exchange(message)
            except (OSError, WebSocketException) as error:  # a TimeoutError is an OSError
                self.close()  # an answer that is late would be taken for the next one's
                failure = error
            except BaseException:  # interrupted: the answer that still comes is nobody's
                self.close()
                raise
            else:
                return _read(answer)
            _raise_if_refused(failure)
            pause = next(pauses, None)
            if pause is None:
                raise ServiceError(f"{self._address} gives no answer: {failure!r}") from failure
            time.sleep(pause)

    def _exchange(self, message: str) -> str | bytes:
        if self._connection is None:
            opening = connect(
                self._address,
                additional_headers=self._headers,
                open_timeout=self._timeout_s,
                close_timeout=self._timeout_s,
                proxy=None,
            )
            self._connection = self._open.enter_context(opening)
        self._connection.send(message)
        return self._connection.recv(timeout=self._timeout_s)


def _raise_if_refused(failure: Exception) -> None:
    """Raise what asking again will not mend.

    Raises:
        ServiceAnswerError: the connection was refused, or closed over the request's size.
    """
    if isinstance(failure, InvalidStatus) and failure.response.status_code not in RETRIED:
        text = "no stream is opened: is the token right, or, without one, the host's name loopback?"
        status = failure.response.status_code
        raise ServiceAnswerError(status, "unauthorised", text, None) from failure
    received = failure.rcvd if isinstance(failure, ConnectionClosed) else None
    if received is not None and received.code == CloseCode.MESSAGE_TOO_BIG:
        text = "the request is too large"
        raise ServiceAnswerError(NO_STATUS, "body_too_large", text, None) from failure


def _read(answer: str | bytes) -> DecideAnswer:
    try:
        return _DECODE(answer)
    except msgspec.DecodeError as error:
        try:
            found = _DECODE_ERROR(answer).error
        except msgspec.DecodeError:
            raise ServiceError(f"{PATH} answered something else: {error}") from error
    raise ServiceAnswerError(NO_STATUS, found.code, found.message, found.details.get("field"))
