"""The bodies that change the service's state: bars, fills, an operator's order, another bundle."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from serve.api.decide_request import MAX_PRICE, Price, Symbol
from serve.api.decode_errors import explain, refuse_duplicate_keys
from serve.api.errors import invalid
from serve.api.responses import Name, OrderMetadata

MAX_BARS: Final = 1000
MAX_FILLS: Final = 500
MAX_CASH: Final = 1e15
_LAST_S: Final = 7_258_118_399  # the end of 2199, where calendars end
_MILLISECONDS_FROM: Final = 100_000_000_000

Body = TypeVar("Body")

Epoch = Annotated[int, Meta(ge=0, le=_LAST_S * 1000)]
Note = Annotated[str, Meta(max_length=300)]
"""Who gave an order or a correction, and why: kept with what it changes."""

Moment = Epoch | datetime
"""UTC epoch seconds or milliseconds, or ISO-8601 (UTC where it has no offset)."""


class BarInput(Struct, forbid_unknown_fields=True, frozen=True):
    """One closed bar; ``timestamp`` is its open time."""

    timestamp: Moment
    open: Price
    high: Price
    low: Price
    close: Price
    volume: Annotated[float, Meta(ge=0.0, le=1e18)]


class BarsRequest(Struct, forbid_unknown_fields=True, frozen=True):
    """The body of ``POST /bars``: closed bars of one symbol, oldest first.

    ``revise``: bars that were accepted with other values are replaced, and what follows from them
    is computed again; without it they are refused. ``note``: who revises, and why. With a
    ``request_id`` a repeat that comes after another revision of its bars is refused.
    """

    symbol: Symbol
    bars: Annotated[list[BarInput], Meta(min_length=1, max_length=MAX_BARS)]
    revise: bool = False
    note: Note = ""
    request_id: Name | None = None


class FillInput(Struct, forbid_unknown_fields=True, frozen=True):
    """One fill of the broker.

    ``commission`` in dollars, below zero for a rebate; the instrument's own where left out.
    ``corrects``: id of the fill in whose place this one counts, as if the other had never been.
    """

    fill_id: Name
    side: Literal["BUY", "SELL"]
    quantity: Annotated[float, Meta(gt=0.0, le=MAX_PRICE)]
    price: Price
    timestamp: Moment
    commission: Annotated[float, Meta(ge=-MAX_PRICE, le=MAX_PRICE)] | UnsetType = UNSET
    metadata: OrderMetadata | None = None
    corrects: Name | None = None


class FillsRequest(Struct, forbid_unknown_fields=True, frozen=True):
    """The body of ``POST /fills``: fills of one symbol in the order in which they happened.

    ``busts``: ids of fills that the broker has undone. ``note``: who corrects or busts, and why.
    There must be a fill or a bust.
    """

    symbol: Symbol
    fills: Annotated[list[FillInput], Meta(max_length=MAX_FILLS)]
    busts: Annotated[list[Name], Meta(max_length=MAX_FILLS)] = []
    note: Note = ""


class CashMove(Struct, forbid_unknown_fields=True, frozen=True):
    """Money that came into the account (``amount`` above zero) or left it, in dollars.

    ``transfer``: a deposit or a withdrawal, which is no P&L. ``funding``: of a perpetual, paid
    below zero, or any other cost or income without a fill, which is P&L.
    """

    kind: Literal["transfer", "funding"]
    amount: Annotated[float, Meta(ge=-MAX_CASH, le=MAX_CASH)]


class BrokerAccount(Struct, forbid_unknown_fields=True, frozen=True):
    """What the broker says of the account: ``position`` in lots, below zero when short.

    ``equity`` in dollars, and ``entry_price``, the position's average, where they are known.
    """

    position: Annotated[float, Meta(ge=-MAX_PRICE, le=MAX_PRICE)]
    equity: Annotated[float, Meta(ge=-MAX_CASH, le=MAX_CASH)] | None = None
    entry_price: Price | None = None


class AccountRequest(Struct, forbid_unknown_fields=True, frozen=True):
    """The body of ``POST /account``: money that moved, then what the broker says.

    A repeat with the same ``request_id`` does nothing. ``by``, ``note``: who, and why. ``adopt``:
    the broker's position and equity replace those of the service.
    """

    symbol: Symbol
    request_id: Name
    by: Name
    note: Annotated[str, Meta(min_length=1, max_length=300)]
    cash: Annotated[list[CashMove], Meta(max_length=MAX_FILLS)] = []
    broker: BrokerAccount | None = None
    adopt: bool = False


class OverrideRequest(Struct, forbid_unknown_fields=True, frozen=True):
    """The body of ``POST /admin/override``. A repeat with the same ``request_id`` does nothing.

    ``note`` says why, ``by`` who ordered it; both are recorded. Without a symbol the order is for
    all.
    """

    action: Literal["pause", "resume", "flatten", "force_hold"]
    request_id: Name | None = None
    note: Note = ""
    by: Note = ""
    symbol: Symbol | None = None


class ModelRequest(Struct, forbid_unknown_fields=True, frozen=True):
    """The body of ``POST /admin/model``: a bundle's folder, as the service's machines see it.

    With a ``request_id`` a repeat that comes after another bundle was chosen is refused. ``note``
    says why it is chosen, ``by`` who chooses it; both are recorded.
    """

    path: Annotated[str, Meta(min_length=1, max_length=1024)]
    bundle_id: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")] | None = None
    request_id: Name | None = None
    note: Note = ""
    by: Note = ""


WriteRequest = BarsRequest | FillsRequest | AccountRequest | OverrideRequest | ModelRequest

_DECODERS: Final[dict[type, msgspec.json.Decoder[Any]]] = {
    kind: msgspec.json.Decoder(kind)
    for kind in (BarsRequest, FillsRequest, AccountRequest, OverrideRequest, ModelRequest)
}


def read_body(body: bytes, kind: type[Body]) -> Body:
    """Decode and check a request body.

    Raises:
        RequestError: 400 when the body is not one JSON document with unique keys, 422 when a field
            is missing, unknown, of another type or out of range.
    """
    try:
        request: Body = _DECODERS[kind].decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise explain(body, error) from error
    refuse_duplicate_keys(body)
    return request


def epoch_seconds(moment: Moment, field: str) -> float:
    """Return a moment as UTC epoch seconds.

    Raises:
        RequestError: 422 for a time before 1970 or after 2199.
    """
    if isinstance(moment, int):
        return moment / 1000.0 if moment >= _MILLISECONDS_FROM else float(moment)
    seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not (math.isfinite(seconds) and 0.0 <= seconds <= _LAST_S):
        raise invalid(field, f"must lie in the years 1970 to 2199, found {moment.isoformat()}")
    return seconds
