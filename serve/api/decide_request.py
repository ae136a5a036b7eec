"""The request of ``POST /decide``: its shape, its ranges, and what is wrong with a bad one.

``read_request`` turns a body into typed, checked values or raises a ``RequestError`` that names the
field. A valid body is decoded once, with msgspec; only a refused one is read again, to find the
field that is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec
import numpy as np
from msgspec import UNSET, Meta, Struct, UnsetType

from rllib_tactical.domain.features.fvg import MAX_AGE
from rllib_tactical.domain.features.indicators import EMA_WEIGHT, MOMENTUM_LIMIT
from rllib_tactical.domain.features.synergy import NO_SYNERGY, Synergy, synergy_kind
from rllib_tactical.domain.types import (
    FEATURE_NAMES,
    NUM_FEATURES,
    WINDOW,
    FloatArray,
)
from serve.api.decode_errors import explain, refuse_duplicate_keys
from serve.api.errors import exact, invalid

MAX_BODY_BYTES: Final = 256 * 1024
MAX_PRICE: Final = 1e9

_WHOLE: Final = [0, 1, 3, 4]
_WHOLE_COLUMNS: Final = np.isin(np.arange(NUM_FEATURES), _WHOLE)
_LOW: Final[FloatArray] = np.array([0.0, 0.0, 0.0, 0.0, 0.0, -MOMENTUM_LIMIT, 0.0])
# V / EMA cannot exceed 1/a because EMA = a V + (1 - a) EMA_before; the slack is for rounding
_HIGH: Final[FloatArray] = np.array(
    [1.0, 1.0, MAX_PRICE, MAX_AGE, 1.0, MOMENTUM_LIMIT, 1.0 / EMA_WEIGHT + 1e-6]
)

Price = Annotated[float, Meta(gt=0.0, le=MAX_PRICE)]
Row = Annotated[list[float], Meta(min_length=NUM_FEATURES, max_length=NUM_FEATURES)]
Matrix = Annotated[list[Row], Meta(min_length=WINDOW, max_length=WINDOW)]
Symbol = Annotated[str, Meta(min_length=1, max_length=64)]


Items = Annotated[list[Any], Meta(extra_json_schema={"items": {}})]
Signal = str | int | float | bool | dict[str, Any] | Items | None
"""A signal of a synergy: any JSON value, such as a name or an object that describes it."""


class MarketContext(Struct, forbid_unknown_fields=True, frozen=True):
    """The present market: ``current_price`` and ``atr_5min`` (14-bar ATR) in price units."""

    symbol: Symbol | UnsetType = UNSET
    current_price: Price | UnsetType = UNSET
    atr_5min: Price | UnsetType = UNSET


class SynergyContext(Struct, forbid_unknown_fields=True, frozen=True):
    """A detected synergy.

    ``synergy_type``: TYPE_1 to TYPE_4; with any other the agents have equal weights, and the answer
    has a warning. ``market_context`` may hold anything; its symbol, current_price and atr_5min are
    checked.
    """

    synergy_type: Annotated[str, Meta(min_length=1, max_length=64)]
    direction: Literal[1, -1]
    confidence: Annotated[float, Meta(ge=0.0, le=1.0)]
    signal_sequence: Annotated[list[Signal], Meta(max_length=256)] = []
    market_context: dict[str, Any] = {}
    event_id: Annotated[str, Meta(max_length=256)] | None = None
    timestamp: datetime | float | None = None


class OverrideParams(Struct, forbid_unknown_fields=True, frozen=True):
    """Settings that a request may change for its own decision; risk limits are not among them.

    ``temperature`` multiplies the bundle's temperature scale; ``base_quantity`` (lots) can lower
    the instrument's, never raise it; ``seed`` replaces the request's own for ``mode`` sample.
    """

    temperature: Annotated[float, Meta(ge=0.05, le=10.0)] | UnsetType = UNSET
    mode: Literal["sample", "greedy"] | UnsetType = UNSET
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] | UnsetType = UNSET
    execution_threshold: Annotated[float, Meta(ge=0.5, le=1.0)] | UnsetType = UNSET
    base_quantity: Annotated[float, Meta(gt=0.0, le=MAX_PRICE)] | UnsetType = UNSET


class DecideRequest(Struct, forbid_unknown_fields=True, frozen=True):
    """The body of ``POST /decide``. ``matrix_state``: 60 rows of 7 raw features, oldest first.

    With a symbol alone (here or in ``market_context``) the service decides on the bars that it was
    sent.
    """

    matrix_state: Matrix | UnsetType = UNSET
    symbol: Symbol | UnsetType = UNSET
    synergy_context: SynergyContext | None = None
    market_context: MarketContext | None = None
    override_params: OverrideParams | None = None


class BarWindow(NamedTuple):
    """The last bars that the service was sent: raw matrix (60, 7), price, ATR and synergy."""

    matrix: FloatArray
    price: float
    atr: float
    synergy: Synergy = NO_SYNERGY


@dataclass(frozen=True, slots=True)
class DecideInput:
    """A checked request.

    ``matrix`` (60, 7) float64 raw; ``price`` and ``atr`` in price units; ``synergy_kind`` 0..5 and
    ``synergy_direction`` +1, -1, 0 when there is none; ``canonical`` identifies the request,
    whatever the order of its keys or its white space. ``from_bars``: matrix, price and ATR are
    from the bars that the service was sent, and so is the synergy where the request has none.
    """

    matrix: FloatArray
    symbol: str
    price: float
    atr: float
    synergy_kind: int
    synergy_direction: int
    overrides: OverrideParams
    canonical: bytes
    from_bars: bool = False


_DECODER: Final = msgspec.json.Decoder(DecideRequest)
_ENCODER: Final = msgspec.json.Encoder(order="sorted")
_NO_OVERRIDES: Final = OverrideParams()
_NO_MARKET: Final = MarketContext()
_NEEDED: Final = ("symbol", "current_price", "atr_5min")


class AskedRequest(NamedTuple):
    """A decoded request; ``given`` has its symbol, price and ATR from wherever they stood.

    ``from_bars``: it has no matrix.
    """

    request: DecideRequest
    given: dict[str, Any]
    from_bars: bool

    @property
    def symbol(self) -> str:
        """The symbol that it is for."""
        return str(self.given["symbol"])

    def require_symbol(self, known: Collection[str]) -> None:
        """Refuse a symbol that is not known.

        Raises:
            RequestError: 422; names those that are.
        """
        if self.symbol not in known:
            names = ", ".join(map(repr, known))
            raise invalid(
                "symbol" if self.request.symbol is not UNSET else "market_context.symbol",
                f"this service decides for {names}, found {self.symbol!r}",
                "wrong_symbol",
            )


def parse_request(body: bytes, by_bars: bool = True) -> AskedRequest:
    """Decode a request body and find its symbol, price and ATR.

    Args:
        body: the JSON document.
        by_bars: whether a request may do without a matrix.

    Raises:
        RequestError: 400 when the body is not one JSON document with unique keys, 422 when a field
            is missing, unknown or of another type.
    """
    try:
        request = _DECODER.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise explain(body, error) from error
    refuse_duplicate_keys(body)
    given = _market(request)
    from_bars = request.matrix_state is UNSET and by_bars
    if from_bars:
        _require_symbol_alone(given)
    missing = next(
        (name for name in _NEEDED[: 1 if from_bars else 3] if given[name] is UNSET), None
    )
    if request.matrix_state is UNSET and not from_bars:
        raise invalid("matrix_state", "is required", "missing_field")
    if missing is not None:
        raise invalid(f"market_context.{missing}", "is required", "missing_field")
    return AskedRequest(request, given, from_bars)


def checked_request(
    asked: AskedRequest, base_quantity: float, bar_window: Callable[[], BarWindow] | None = None
) -> DecideInput:
    """Check a decoded request for its symbol.

    Args:
        asked: the request.
        base_quantity: of the symbol's instrument in lots, the most an override may ask for.
        bar_window: returns the bars that the service was sent, for a request without a matrix.

    Raises:
        RequestError: 422 when a field is out of range; what ``bar_window`` raises.
    """
    request, given, from_bars = asked
    symbol = asked.symbol
    detected = NO_SYNERGY
    if bar_window is not None and from_bars:
        matrix, price, atr, detected = bar_window()
    else:
        matrix = np.array(request.matrix_state, dtype=np.float64)
        _check_matrix(matrix)
        price, atr = given["current_price"], given["atr_5min"]
    overrides = request.override_params or _NO_OVERRIDES
    if overrides.base_quantity is not UNSET and overrides.base_quantity > base_quantity:
        raise invalid(
            "override_params.base_quantity",
            f"may only lower the instrument's {exact(base_quantity)}, "
            f"found {exact(overrides.base_quantity)}",
        )
    synergy = request.synergy_context
    kind, direction = detected.kind, detected.direction
    if synergy is not None:
        kind, direction = synergy_kind(synergy.synergy_type), synergy.direction
    try:
        known = synergy if synergy is not None or not kind else detected
        rest = _ENCODER.encode((known, symbol, price, atr, overrides))
    except (OverflowError, RecursionError, UnicodeEncodeError) as error:
        raise invalid("synergy_context", f"holds a value that cannot be used: {error}") from error
    return DecideInput(
        matrix=matrix,
        symbol=symbol,
        price=price,
        atr=atr,
        synergy_kind=kind,
        synergy_direction=direction,
        overrides=overrides,
        canonical=matrix.tobytes() + rest,
        from_bars=from_bars,
    )


def read_request(
    body: bytes,
    symbol: str,
    base_quantity: float,
    bar_window: Callable[[], BarWindow] | None = None,
) -> DecideInput:
    """Decode and check a request body for one symbol; see the functions that it calls."""
    asked = parse_request(body, bar_window is not None)
    asked.require_symbol((symbol,))
    return checked_request(asked, base_quantity, bar_window)


def _check_matrix(matrix: FloatArray) -> None:
    bad = (matrix < _LOW) | (matrix > _HIGH) | (_WHOLE_COLUMNS & (np.floor(matrix) != matrix))
    if not bad.any():
        return
    row, column = (int(i) for i in np.argwhere(bad)[0])
    kind = "a whole number " if column in _WHOLE else ""
    raise invalid(
        f"matrix_state[{row}][{column}]",
        f"{FEATURE_NAMES[column]} must be {kind}in [{_LOW[column]:g}, {_HIGH[column]:g}], "
        f"found {exact(matrix[row, column])}",
    )


def _require_symbol_alone(given: dict[str, Any]) -> None:
    """Refuse a price or an ATR without the matrix that it belongs to."""
    for name in ("current_price", "atr_5min"):
        if given[name] is not UNSET:
            raise invalid(
                "matrix_state",
                f"is required with market_context.{name}; leave out all three to decide on the "
                "bars sent to /bars",
                "missing_field",
            )


def _market(request: DecideRequest) -> dict[str, Any]:
    """Merge symbol, price and ATR from wherever they are given; they must not contradict."""
    top = request.market_context or _NO_MARKET
    inner = _NO_MARKET
    if request.synergy_context is not None and request.synergy_context.market_context:
        given = request.synergy_context.market_context
        known = {key: given[key] for key in _NEEDED if key in given}
        try:
            inner = msgspec.convert(known, MarketContext, strict=True)
        except msgspec.ValidationError as error:
            raise explain(b"", error, prefix="synergy_context.market_context") from error
    merged: dict[str, Any] = {}
    for name in _NEEDED:
        merged[name] = _agreed(
            getattr(top, name), getattr(inner, name), name, "synergy_context.market_context"
        )
    merged["symbol"] = _agreed(merged["symbol"], request.symbol, "symbol", "the top level's")
    return merged


def _agreed(outer: Any, inner: Any, name: str, place: str) -> Any:
    if outer is UNSET or inner is UNSET or outer == inner:
        return outer if inner is UNSET else inner
    raise invalid(
        f"market_context.{name}", f"{outer!r} contradicts {place} {name} {inner!r}", "contradiction"
    )
