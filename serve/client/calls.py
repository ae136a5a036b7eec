"""The calls of the service, each written once, without the way in which they are sent.

A function of this module describes a call; ``blocking`` and ``awaited`` make methods of a client
from it, with the same arguments and the answer's type.
"""

from __future__ import annotations

import inspect
import random
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, Final, Generic, ParamSpec, Protocol, TypeVar

import msgspec
import numpy as np

from rllib_tactical.domain.types import FloatArray
from rllib_tactical.errors import ServiceError
from serve.api import operations
from serve.api.experiment import ExperimentAnswer
from serve.api.health import HealthAnswer
from serve.api.operations import Operation
from serve.api.responses import (
    AccountAnswer,
    BarsAnswer,
    DecideAnswer,
    ErrorAnswer,
    FillsAnswer,
    ManifestAnswer,
    ModelAnswer,
    OverrideAnswer,
    PerformanceAnswer,
)
from serve.api.write_requests import BarInput, BrokerAccount, CashMove, FillInput

OK: Final = 200
RETRIED: Final = frozenset({404, 502, 503, 504})
"""404 too: the service has every path that is called here, only a proxy without it has not."""

UNKNOWN: Final = "unknown"
"""``code`` of a refusal that did not come from the service, such as a proxy's."""

DEFAULT_TIMEOUT_S: Final = 5.0
RELOAD_TIMEOUT_S: Final = 120.0

Matrix = Sequence[Sequence[float]] | FloatArray
P = ParamSpec("P")
AnswerT = TypeVar("AnswerT")


class ServiceAnswerError(ServiceError):
    """The service refused a request. ``code`` and ``field`` are those of its answer."""

    def __init__(self, status: int, code: str, message: str, field: str | None) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code, self.message, self.field = status, code, message, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How often a request is repeated, and the pauses between: doubled each time, up to a limit.

    Each pause is drawn at random from its second half, so that clients do not return together.
    """

    count: int = 4
    first_pause_s: float = 0.05
    longest_pause_s: float = 2.0

    def pauses(self) -> Iterator[float]:
        """Yield the seconds to wait before each repetition."""
        for i in range(self.count):
            longest = min(self.first_pause_s * 2.0**i, self.longest_pause_s)
            yield longest * random.uniform(0.5, 1.0)


@dataclass(frozen=True)
class Call(Generic[AnswerT]):
    """One call: its operation, and what is sent.

    Args:
        operation: path, method and type of the answer.
        body: encoded as JSON, None without one.
        params: of the query string.
        timeout_s: of one attempt; the client's when None.
    """

    operation: Operation[AnswerT]
    body: Any = None
    params: Mapping[str, str] | None = None
    timeout_s: float | None = None

    def __str__(self) -> str:
        return f"{self.operation.method} {self.operation.path}"

    def content(self) -> bytes:
        """Return the body as JSON; arrays and numbers of NumPy are allowed in it.

        Raises:
            ServiceError: it holds something that JSON cannot.
        """
        return msgspec.json.encode(self.body, enc_hook=_plain)

    def read(self, status: int, content: bytes | str) -> AnswerT:
        """Return the answer that came with an HTTP ``status``.

        Raises:
            ServiceAnswerError: the service refused the request.
            ServiceError: the answer is not one of the service's.
        """
        if status != OK:
            raise refusal(status, content)
        try:
            return msgspec.json.decode(content, type=self.operation.answer)
        except msgspec.DecodeError as error:
            raise ServiceError(f"{self} answered something else: {error}") from error


class Blocking(Protocol):
    """A client that waits for its answers."""

    def make(self, call: Call[AnswerT]) -> AnswerT:
        """Make a call and return its answer."""


class Awaiting(Protocol):
    """A client of an event loop."""

    async def make(self, call: Call[AnswerT]) -> AnswerT:
        """Make a call and return its answer."""


def blocking(
    describe: Callable[P, Call[AnswerT]],
) -> Callable[Concatenate[Blocking, P], AnswerT]:
    """Return the method of a blocking client that makes the described call."""

    @wraps(describe)
    def method(self: Blocking, /, *args: P.args, **kwargs: P.kwargs) -> AnswerT:
        return self.make(describe(*args, **kwargs))

    _show_self(method, describe)
    return method


def awaited(
    describe: Callable[P, Call[AnswerT]],
) -> Callable[Concatenate[Awaiting, P], Awaitable[AnswerT]]:
    """Return the method of an event loop's client that makes the described call."""

    @wraps(describe)
    async def method(self: Awaiting, /, *args: P.args, **kwargs: P.kwargs) -> AnswerT:
        return await self.make(describe(*args, **kwargs))

    _show_self(method, describe)
    return method


def decide(
    matrix_state: Matrix | None = None,
    symbol: str | None = None,
    market_context: Mapping[str, Any] | None = None,
    synergy_context: Mapping[str, Any] | None = None,
    override_params: Mapping[str, Any] | None = None,
) -> Call[DecideAnswer]:
    """Ask for a decision on a matrix, or with ``symbol`` alone on the bars sent before."""
    given = {
        "matrix_state": matrix_state,
        "symbol": symbol,
        "market_context": market_context,
        "synergy_context": synergy_context,
        "override_params": override_params,
    }
    body = {name: value for name, value in given.items() if value is not None}
    return Call(operations.DECIDE, body)


def send_bars(
    symbol: str,
    bars: Sequence[BarInput],
    revise: bool = False,
    note: str = "",
    request_id: str | None = None,
) -> Call[BarsAnswer]:
    """Send closed bars, oldest first; with ``revise`` they replace what was accepted before."""
    more: dict[str, Any] = {}
    if revise:  # with an id of its own: repeated later, it does not undo another revision
        more = {"revise": True, "note": note, "request_id": request_id or uuid.uuid4().hex}
    return Call(operations.BARS, {"symbol": symbol, "bars": list(bars), **more})


def send_fills(
    symbol: str, fills: Sequence[FillInput], busts: Sequence[str] = (), note: str = ""
) -> Call[FillsAnswer]:
    """Send the broker's fills, in the order in which they happened, and ids of busted ones."""
    body = {"symbol": symbol, "fills": list(fills), "busts": list(busts), "note": note}
    return Call(operations.FILLS, body)


def account(
    symbol: str,
    by: str,
    note: str,
    cash: Sequence[CashMove] = (),
    broker: BrokerAccount | None = None,
    adopt: bool = False,
    request_id: str | None = None,
) -> Call[AccountAnswer]:
    """Report deposits, withdrawals and funding, compare with the broker's account, or adopt it."""
    body = {
        "symbol": symbol,
        "by": by,
        "note": note,
        "cash": list(cash),
        "broker": broker,
        "adopt": adopt,
        "request_id": request_id or uuid.uuid4().hex,
    }
    return Call(operations.ACCOUNT, body)


def override(
    action: str,
    note: str = "",
    request_id: str | None = None,
    by: str = "",
    symbol: str | None = None,
) -> Call[OverrideAnswer]:
    """Order pause, resume, flatten or force_hold for a symbol, or for all when it is omitted.

    ``note`` says why, ``by`` who orders it.
    """
    # an id of its own makes the order count once, however often the request is repeated
    body = {"action": action, "note": note, "request_id": request_id or uuid.uuid4().hex}
    if by:
        body["by"] = by
    if symbol is not None:
        body["symbol"] = symbol
    return Call(operations.OVERRIDE, body)


def load_model(
    path: str,
    bundle_id: str | None = None,
    request_id: str | None = None,
    note: str = "",
    by: str = "",
) -> Call[ModelAnswer]:
    """Replace the bundle by the one at ``path``, a folder on the service's machines.

    ``note`` says why, ``by`` who chooses it.
    """
    request_id = request_id or uuid.uuid4().hex
    body = {"path": path, "bundle_id": bundle_id, "request_id": request_id}
    body |= {name: text for name, text in (("note", note), ("by", by)) if text}
    return Call(operations.LOAD_MODEL, body, timeout_s=RELOAD_TIMEOUT_S)


def model(symbol: str | None = None) -> Call[ManifestAnswer]:
    """Return the public part of the bundle's manifest; of several symbols one has to be named."""
    return Call(operations.MODEL, params=None if symbol is None else {"symbol": symbol})


def performance(
    days: int = operations.DAYS.default, symbol: str | None = None
) -> Call[PerformanceAnswer]:
    """Return the trading metrics of the last days; of several symbols one has to be named."""
    params = {operations.DAYS.name: str(days)}
    if symbol is not None:
        params[operations.SYMBOL.name] = symbol
    return Call(operations.PERFORMANCE, params=params)


def experiment() -> Call[ExperimentAnswer]:
    """Return what is known of the challengers."""
    return Call(operations.EXPERIMENT)


def health() -> Call[HealthAnswer]:
    """Return components, latencies and alerts."""
    return Call(operations.HEALTH)


def token_headers(token: str | None) -> dict[str, str]:
    """Return the headers that carry a token."""
    return {} if token is None else {"authorization": f"Bearer {token}"}


def refusal(status: int, content: bytes | str) -> ServiceAnswerError:
    """Return the error for a refused request."""
    try:
        found = msgspec.json.decode(content, type=ErrorAnswer).error
    except msgspec.DecodeError:
        text = content if isinstance(content, str) else content.decode(errors="replace")
        return ServiceAnswerError(status, UNKNOWN, text[:200], None)
    return ServiceAnswerError(status, found.code, found.message, found.details.get("field"))


def _plain(value: Any) -> Any:
    """Return an array or a number of NumPy as a list or a number of Python.

    Raises:
        ServiceError: it is something else.
    """
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise ServiceError(f"a request must hold JSON or NumPy values, found {type(value).__name__}")


def _show_self(method: Any, describe: Callable[..., Any]) -> None:
    """Give a method the signature of its description, with ``self`` before it."""
    signature = inspect.signature(describe)
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    method.__signature__ = signature.replace(parameters=[own, *signature.parameters.values()])
