"""The records of the state: what was accepted, in the words in which the store keeps it.

Records without a symbol are those of older versions, whose states have one symbol.
"""

from __future__ import annotations

from typing import Any, Final, Literal, TypeVar

import msgspec

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.config.loader import to_dict
from serve.api.write_requests import AccountRequest
from serve.state.bar_streams import BarRow
from serve.state.portfolio import Fill
from serve.state.store import STATE, DamagedError, Entry, StoredRecord
from serve.state.total import NO_LIMITS, TotalLimits

AUTOMATIC: Final = "automatic rollback"
"""Who rolled back, where nobody asked for it."""


class ModelRecord(msgspec.Struct, tag="model", frozen=True):
    """A bundle was chosen.

    ``launch`` is set when a start of the service named it, None for a promotion, which may have a
    ``request_id``. ``live_bars``: bars arrive as they close; false in journals that do not have it.
    ``by``: who chose it, ``AUTOMATIC`` where the service rolled back by itself; ``note`` says why.
    ``at_s``: epoch time, None in journals that do not have it and for a start.
    """

    path: str
    bundle_id: str
    instrument: dict[str, Any]
    risk: dict[str, Any]
    bar_seconds: int
    launch: str | None = None
    live_bars: bool = False
    request_id: str | None = None
    by: str = ""
    note: str = ""
    at_s: float | None = None

    @property
    def symbol(self) -> str:
        """The symbol that the bundle is for."""
        return str(self.instrument["symbol"])


class ProposalRecord(msgspec.Struct, tag="proposal", frozen=True):
    """A bundle is about to be chosen: replicas load it meanwhile."""

    path: str
    bundle_id: str
    symbol: str | None = None


class BarsRecord(msgspec.Struct, tag="bars", frozen=True):
    """Bars were accepted; ``at_s`` is the epoch time, as in every record.

    Those up to the newest bar before them came late, or replace what was accepted; ``note`` says
    why. ``digest``: of the request, where it has a ``request_id``.
    """

    at_s: float
    rows: tuple[BarRow, ...]
    note: str = ""
    request_id: str | None = None
    digest: str = ""
    symbol: str | None = None


class FillsRecord(msgspec.Struct, tag="fills", frozen=True):
    """Fills were accepted, then those with the ids ``busts`` undone; ``note`` says why."""

    at_s: float
    fills: tuple[Fill, ...]
    busts: tuple[str, ...] = ()
    note: str = ""
    symbol: str | None = None


class AccountRecord(msgspec.Struct, tag="account", frozen=True):
    """What was said of the account, and by whom; ``digest`` tells a repeat from another request."""

    at_s: float
    request: AccountRequest
    digest: str


class ControlRecord(msgspec.Struct, tag="control", frozen=True):
    """An operator gave an order; ``note`` says why, ``by`` who it was; without a symbol for all."""

    at_s: float
    action: str
    request_id: str | None
    note: str = ""
    by: str = ""
    symbol: str | None = None


class SessionRecord(msgspec.Struct, tag="session", frozen=True):
    """A session began by the clock: older versions wrote it, now only bars begin sessions."""

    at_s: float


class ServingRecord(msgspec.Struct, tag="serving", frozen=True):
    """The service was started with these symbols and limits over the sum of their accounts."""

    symbols: tuple[str, ...]
    limits: TotalLimits = NO_LIMITS


Split = Literal["none", "symbol", "session"]


class Challenger(msgspec.Struct, frozen=True):
    """A bundle that is compared with the one that decides for its symbol."""

    path: str
    bundle_id: str
    symbol: str


class ExperimentRecord(msgspec.Struct, tag="experiment", frozen=True):
    """The service was started with these challengers; none end every comparison.

    ``split``: by what challengers decide in place of the champion, see ``Experiment.deciding``.
    """

    challengers: tuple[Challenger, ...] = ()
    split: Split = "none"


NO_EXPERIMENT: Final = ExperimentRecord()

Record = (
    ModelRecord
    | ProposalRecord
    | BarsRecord
    | FillsRecord
    | AccountRecord
    | ControlRecord
    | SessionRecord
    | ServingRecord
    | ExperimentRecord
)

BeforeT = TypeVar("BeforeT", bound=float | None)

_DECODE: Final = msgspec.json.Decoder(Record).decode
_ENCODE: Final = msgspec.json.Encoder().encode


def model_record(bundle: Bundle, launch: str | None = None, live_bars: bool = True) -> ModelRecord:
    """Return the record that a verified bundle was chosen."""
    return ModelRecord(
        path=str(bundle.path),
        bundle_id=bundle.bundle_id,
        instrument=to_dict(bundle.instrument),
        risk=to_dict(bundle.rules.risk),
        bar_seconds=bundle.bar_seconds,
        launch=launch,
        live_bars=live_bars,
    )


def time_of(record: Record | None, before_s: BeforeT) -> float | BeforeT:
    """Return the epoch time of a record, ``before_s`` for one that does not say it."""
    at_s: float | None = getattr(record, "at_s", None)
    return before_s if at_s is None else at_s


def entry_of(record: Record) -> Entry:
    """Return a record as the store takes it."""
    return Entry(STATE, _ENCODE(record))


def record_of(stored: StoredRecord) -> Record | None:
    """Return what the store gave back; None for a record that is not of the state.

    Raises:
        DamagedError: another version wrote it.
    """
    if stored.kind != STATE:
        return None
    try:
        found: Record = _DECODE(stored.data)
        return found
    except msgspec.DecodeError as error:
        raise DamagedError(
            f"record {stored.sequence} was written by another version: {error}"
        ) from error
