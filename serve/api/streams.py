"""The messages of the bus as types, and the table of its streams: service, client and docs use it.

A stream's entry has the field ``data``, one JSON document. An event may have the field ``want``
with the value ``decision``: its decision is then published too, whatever it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from rllib_tactical.data.synergy_events import SynergyEvent
from rllib_tactical.errors import ServiceError
from serve.api.decode_errors import explain, refuse_duplicate_keys
from serve.api.errors import invalid
from serve.api.health import Alert
from serve.api.redis_url import is_redis, split_name
from serve.api.responses import DecideAnswer, ExecutionCommand
from serve.api.write_requests import BarsRequest, FillsRequest

DATA: Final = "data"
WANT: Final = "want"
DECISION: Final = "decision"
DEFAULT_NAME: Final = "tactical"
GROUP: Final = "service"
"""The consumer group in which the services of one bus read."""
COUNTED: Final = 2_000
"""So many unread entries are counted at most where the server cannot tell their number."""

Moment = Annotated[float, Meta(ge=0.0)]
"""UTC epoch seconds."""


class CommandMessage(Struct, frozen=True, kw_only=True):
    """The order that an event has led to; there is one for an event at most, ever.

    ``execution_command.metadata.decision_id`` is the client order id to give to a broker.
    """

    event_id: str
    issued_s: Moment
    execution_command: ExecutionCommand


class DecisionMessage(Struct, frozen=True, kw_only=True):
    """What was decided on an event that asked for it, or was too late or too early to trade on."""

    event_id: str
    issued_s: Moment
    answer: DecideAnswer


class AlertMessage(Struct, frozen=True, kw_only=True):
    """An alert of ``GET /health`` that was raised, or cleared."""

    change: Literal["raised", "cleared"]
    issued_s: Moment
    alert: Alert


class DeadLetter(Struct, frozen=True, kw_only=True):
    """An entry that cannot be answered, with the reason and all its fields.

    ``code`` is that of the service's errors, or ``undeliverable``: the service ended whenever it
    worked on the entry. ``deliveries``: how often it was read.
    """

    stream: str
    entry_id: str
    code: str
    message: str
    issued_s: Moment
    deliveries: int
    fields: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One stream of the bus.

    Args:
        name: its key is ``{BUS}:name``.
        direction: ``in`` to the service or ``out`` of it.
        message: type of the document in ``data``.
        summary: one line for people.
    """

    name: str
    direction: Literal["in", "out"]
    message: type[Struct]
    summary: str

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of an entry's fields; the first one is always there."""
        return (DATA, WANT) if self is SYNERGIES else (DATA,)


SYNERGIES: Final = Stream(
    name="synergies",
    direction="in",
    message=SynergyEvent,
    summary="SYNERGY_DETECTED events of the strategic system",
)
BARS: Final = Stream(
    name="bars", direction="in", message=BarsRequest, summary="Closed bars, as for POST /bars"
)
FILLS: Final = Stream(
    name="fills",
    direction="in",
    message=FillsRequest,
    summary="The broker's fills, as for POST /fills",
)
COMMANDS: Final = Stream(
    name="commands", direction="out", message=CommandMessage, summary="Orders, one for each event"
)
DECISIONS: Final = Stream(
    name="decisions",
    direction="out",
    message=DecisionMessage,
    summary="Decisions on request, and those on events that came too late or too early",
)
ALERTS: Final = Stream(
    name="alerts",
    direction="out",
    message=AlertMessage,
    summary="Alerts of GET /health as they change",
)
DEAD: Final = Stream(
    name="dead",
    direction="out",
    message=DeadLetter,
    summary="Entries that cannot be answered, with the reason",
)

STREAMS: Final = {
    stream.name: stream for stream in (SYNERGIES, BARS, FILLS, COMMANDS, DECISIONS, ALERTS, DEAD)
}
INPUTS: Final = tuple(stream for stream in STREAMS.values() if stream.direction == "in")


@dataclass(frozen=True, slots=True)
class BusAddress:
    """Where a bus is: the server's address, and the bus's name there."""

    address: str
    name: str = DEFAULT_NAME

    @classmethod
    def of(cls, url: str) -> BusAddress:
        """Return what ``redis://HOST:PORT/DB#NAME`` says; the name may be left out.

        Raises:
            ServiceError: it is not the URL of a server, or the name cannot be one.
        """
        if not is_redis(url):
            raise ServiceError(f"the bus must be a URL such as redis://HOST:6379/0, found {url!r}")
        address, name = split_name(url)
        if set(name) & set("{}: \t\n"):
            raise ServiceError(
                f"the name of a bus must be without braces, colons and spaces: {name!r}"
            )
        return cls(address, name or DEFAULT_NAME)

    def key(self, part: str) -> str:
        """Return a key; all keys of a bus are on one node of a cluster."""
        return f"{{{self.name}}}:{part}"


def encode_fields(message: Struct, want: str | None = None) -> dict[str, bytes]:
    """Return the fields of an entry."""
    fields = {DATA: msgspec.json.encode(message)}
    return fields if want is None else {**fields, WANT: want.encode()}


def decode_fields(stream: Stream, fields: Mapping[bytes, bytes]) -> Any:
    """Return the message of an entry.

    Raises:
        RequestError: it is not one of the stream; names the field.
    """
    document = fields.get(DATA.encode())
    if document is None:
        raise invalid(DATA, "is required in every entry", "missing_field")
    try:
        message = msgspec.json.decode(document, type=stream.message)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise explain(document, error) from error
    refuse_duplicate_keys(document)
    return message


def json_schemas() -> dict[str, Any]:
    """Return one JSON Schema document: the messages by name, and each stream with its fields."""
    kinds = [stream.message for stream in STREAMS.values()]
    _, definitions = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Messages of the bus",
        "streams": {
            name: {
                "direction": stream.direction,
                "summary": stream.summary,
                "fields": list(stream.fields),
                "message": {"$ref": f"#/$defs/{stream.message.__name__}"},
            }
            for name, stream in STREAMS.items()
        },
        "$defs": definitions,
    }
