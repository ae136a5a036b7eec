"""One decision as the journal keeps it: all that it was made of, and what was answered."""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import Any, Final

import msgspec
import numpy as np
from msgspec import Struct

from rllib_tactical.domain.decision.override import Control
from rllib_tactical.domain.decision.risk import AccountView
from rllib_tactical.domain.types import NUM_FEATURES, WINDOW, FloatArray, Reason
from serve.api.decide_request import DecideInput, OverrideParams
from serve.decision.decider import Circumstances, Decided
from serve.state.store import DamagedError, Entry, StoredRecord

DECISION: Final = "decision"
"""Kind of the records in the journal."""


class Caller(Struct, frozen=True, kw_only=True):
    """Who asked: ids of the request and of its trace, network address, name of the token.

    ``token`` is None where the service asks for none.
    """

    request_id: str | None = None
    traceparent: str | None = None
    address: str | None = None
    token: str | None = None


class AccountFields(Struct, frozen=True):
    """The account at the decision, see ``AccountView``."""

    equity: float
    session_peak: float
    position_side: int
    position_quantity: float
    halted: bool
    tradable: bool


class DecisionRecord(Struct, frozen=True, kw_only=True):
    """A decision.

    ``at_s``: epoch time. ``state_version``: of the state that was decided on. ``matrix``: the raw
    window (60, 7) float64, compressed, in base64; None: it is of the bars in the state at that
    version. ``request``: synergy, symbol, price, ATR and overrides, as ``decision_id`` covers them.
    ``data_issue``: code of the reason why state or bars could not be trusted. ``fallback``: the
    actors failed. ``answer``: votes, probabilities, scores, order and reason, as it was sent.
    """

    decision_id: str
    at_s: float
    state_version: int
    matrix: str | None
    request: msgspec.Raw
    synergy_kind: int
    synergy_direction: int
    account: AccountFields
    after_gap: bool
    control: Control
    data_issue: str | None
    fallback: bool
    caller: Caller
    answer: msgspec.Raw

    @property
    def answered(self) -> dict[str, Any]:
        """The answer as plain values: answers of later versions may have other fields."""
        found: dict[str, Any] = _PLAIN(self.answer)
        return found

    @property
    def parts(self) -> RequestParts:
        """Synergy, symbol, price, ATR and overrides of the request."""
        return _PARTS(self.request)


class RequestParts(Struct, frozen=True, array_like=True):
    """What ``DecisionRecord.request`` holds."""

    synergy: Any
    symbol: str
    price: float
    atr: float
    overrides: OverrideParams


_ENCODE: Final = msgspec.json.Encoder().encode
_DECODE: Final = msgspec.json.Decoder(DecisionRecord).decode
_PARTS: Final = msgspec.json.Decoder(RequestParts).decode
_PLAIN: Final = msgspec.json.Decoder().decode
_MATRIX_BYTES: Final = 8 * WINDOW * NUM_FEATURES


def decision_entry(decided: Decided, state_version: int, caller: Caller) -> Entry:
    """Return a decision as the store takes it; its key is the decision's id."""
    request, given = decided.request, decided.given
    account = given.account
    record = DecisionRecord(
        decision_id=decided.answer.decision_id,
        at_s=given.at_s,
        state_version=state_version,
        matrix=None if request.from_bars else _packed(request.matrix),
        request=msgspec.Raw(request.canonical[_MATRIX_BYTES:]),
        synergy_kind=request.synergy_kind,
        synergy_direction=request.synergy_direction,
        account=AccountFields(
            *(getattr(account, n).item() for n in AccountFields.__struct_fields__)
        ),
        after_gap=given.after_gap,
        control=given.control,
        data_issue=None if given.data_issue is None else given.data_issue.code,
        fallback=decided.fallback,
        caller=caller,
        answer=msgspec.Raw(_ENCODE(decided.answer)),
    )
    return Entry(DECISION, _ENCODE(record), record.decision_id)


def decision_of(stored: StoredRecord) -> DecisionRecord:
    """Return what the store gave back.

    Raises:
        DamagedError: another version wrote it.
    """
    try:
        return _DECODE(stored.data)
    except msgspec.DecodeError as error:
        raise DamagedError(
            f"decision {stored.sequence} was written by another version: {error}"
        ) from error


def input_of(record: DecisionRecord, of_bars: FloatArray | None = None) -> DecideInput:
    """Return the request that was decided on.

    Args:
        record: the decision.
        of_bars: the window (60, 7) of the bars in the state, where the record has none.

    Raises:
        DamagedError: there is no window, or it cannot be read.
    """
    matrix = of_bars if record.matrix is None else _unpacked(record.matrix)
    if matrix is None:
        raise DamagedError(f"state {record.state_version} must have bars for a decision on them")
    parts = record.parts
    return DecideInput(
        matrix=matrix,
        symbol=parts.symbol,
        price=parts.price,
        atr=parts.atr,
        synergy_kind=record.synergy_kind,
        synergy_direction=record.synergy_direction,
        overrides=parts.overrides,
        canonical=matrix.tobytes() + bytes(record.request),
        from_bars=record.matrix is None,
    )


def circumstances_of(record: DecisionRecord) -> Circumstances:
    """Return what else the decision depended on."""
    issue = record.data_issue
    values = msgspec.structs.asdict(record.account)
    return Circumstances(
        at_s=record.at_s,
        account=AccountView(**{name: np.array([value]) for name, value in values.items()}),
        after_gap=record.after_gap,
        control=record.control,
        data_issue=None if issue is None else Reason[issue.upper()],
    )


def _packed(matrix: FloatArray) -> str:
    return base64.b64encode(zlib.compress(matrix.tobytes(), 1)).decode()


def _unpacked(text: str) -> FloatArray:
    try:
        data = zlib.decompress(base64.b64decode(text, validate=True))
        return np.frombuffer(data).reshape(WINDOW, NUM_FEATURES)
    except (binascii.Error, ValueError, zlib.error) as error:
        raise DamagedError(f"the window of a decision cannot be read: {error}") from error
