"""A typed client of the service's WebSocket, for a caller that asks again and again.

A message needs no headers, so it is faster than a request. The connection stays with one replica.
When that replica ends, or an answer takes too long, the next attempt connects again. That may
repeat a decision, which changes nothing.

    with DecisionStream("http://127.0.0.1:8001", token=...) as stream:
        answer = stream.decide(symbol="TEST")
"""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Final, TypeVar

from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.frames import CloseCode
from websockets.sync.client import ClientConnection, connect

from rllib_tactical.errors import ServiceError
from serve.api.operations import STREAM_PATH
from serve.client import calls
from serve.client.calls import (
    DEFAULT_TIMEOUT_S,
    OK,
    RETRIED,
    UNKNOWN,
    Call,
    Retries,
    ServiceAnswerError,
    blocking,
    refusal,
    token_headers,
)

NO_STATUS: Final = 0
"""``status`` of a refusal on an open stream, where answers have no status; read its ``code``."""

AnswerT = TypeVar("AnswerT")


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
        self._address = f"{scheme.replace('http', 'ws')}://{place}{STREAM_PATH}"
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

    decide = blocking(calls.decide)

    def make(self, call: Call[AnswerT]) -> AnswerT:
        """Send a call's body and return the answer; connect and send again while none comes.

        Raises:
            ServiceAnswerError: the service refuses the connection or the request.
            ServiceError: it cannot be reached.
        """
        message = call.content().decode()
        pauses = self._retries.pauses()
        while True:
            try:
                answer = self._exchange(message)
            except (OSError, WebSocketException) as error:  # a TimeoutError is an OSError
                self.close()  # a late answer would be taken for the answer to the next message
                failure = error
            except BaseException:  # interrupted: no message waits for the answer still to come
                self.close()
                raise
            else:
                return _read(answer, call)
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
    """Raise an error that another attempt cannot avoid.

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


def _read(answer: str | bytes, call: Call[AnswerT]) -> AnswerT:
    """Return the answer.

    Raises:
        ServiceAnswerError: the service refused the request; on a stream only the body says so.
        ServiceError: the answer is not one of the service's.
    """
    try:
        return call.read(OK, answer)
    except ServiceError:
        refused = refusal(NO_STATUS, answer)
        if refused.code == UNKNOWN:
            raise
    raise refused
