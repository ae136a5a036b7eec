"""The messages of the bus and the table of its streams."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from rllib_tactical.data.synergy_events import SynergyEvent
from rllib_tactical.errors import ServiceError
from serve.api.errors import RequestError
from serve.api.streams import (
    COMMANDS,
    SYNERGIES,
    BusAddress,
    decode_fields,
    encode_fields,
    json_schemas,
)

EVENT = {
    "event": "SYNERGY_DETECTED",
    "event_id": "syn-1042",
    "timestamp": "2026-01-05T15:35:00Z",
    "synergy_type": "TYPE_1",
    "direction": 1,
    "confidence": 0.8,
    "signal_sequence": ["fvg", {"name": "momentum", "at": 3}],
    "market_context": {"symbol": "TEST", "current_price": 92.8, "atr_5min": 0.2, "regime": "calm"},
}


def fields(**changes: Any) -> dict[bytes, bytes]:
    return {b"data": json.dumps({**EVENT, **changes}).encode()}


def test_an_event_comes_back_as_it_was_sent() -> None:
    event = decode_fields(SYNERGIES, fields())
    assert isinstance(event, SynergyEvent)
    assert event.market_context == EVENT["market_context"]
    sent = encode_fields(event, "decision")
    assert list(sent) == ["data", "want"] == list(SYNERGIES.fields)
    assert decode_fields(SYNERGIES, {b"data": sent["data"]}) == event


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"direction": 0}, "invalid_field", "direction"),
        ({"extra": "red"}, "unknown_field", "extra"),
        ({"synergy_type": ""}, "invalid_field", "synergy_type"),
        ({"confidence": 1.5}, "invalid_field", "confidence"),
    ],
)
def test_a_wrong_event_is_refused_with_its_field(
    changes: dict[str, Any], code: str, field: str
) -> None:
    with pytest.raises(RequestError) as caught:
        decode_fields(SYNERGIES, fields(**changes))
    assert (caught.value.code, caught.value.field) == (code, field)


def test_an_entry_without_a_document_is_refused() -> None:
    with pytest.raises(RequestError, match="data: is required in every entry"):
        decode_fields(COMMANDS, {b"other": b"x"})


def test_the_schemas_describe_every_stream_and_accept_its_messages() -> None:
    document = json_schemas()
    assert set(document["streams"]) == {
        "synergies",
        "bars",
        "fills",
        "commands",
        "decisions",
        "alerts",
        "dead",
    }
    for stream in document["streams"].values():
        assert stream["message"]["$ref"].removeprefix("#/$defs/") in document["$defs"]
    schema = {**document["streams"]["synergies"]["message"], "$defs": document["$defs"]}
    jsonschema.validate(EVENT, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**EVENT, "direction": 2}, schema)


def test_the_address_of_a_bus_has_a_name() -> None:
    assert BusAddress.of("redis://host:6379/0").key("bars") == "{tactical}:bars"
    assert BusAddress.of("unix:///socket#other").key("bars") == "{other}:bars"
    with pytest.raises(ServiceError, match="the bus must be a URL such as redis://"):
        BusAddress.of("service-state")
    with pytest.raises(ServiceError, match="must be without braces, colons and spaces"):
        BusAddress.of("redis://host#a:b")
