"""``tactical bus``, as a user calls it, on a real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from click.testing import CliRunner, Result

from rllib_tactical.cli.main import main
from rllib_tactical.errors import ServiceError, TacticalError, UnreadableError, UsageError
from serve.api.alerts import AlertCode
from serve.api.health import Alert
from serve.api.streams import ALERTS, BARS, DEAD, FILLS, SYNERGIES, AlertMessage, DeadLetter
from serve.api.write_requests import FillInput, FillsRequest
from serve.bus.redis_bus import RedisBus
from serve.client.bus import BusPublisher, BusReader
from tests.serve.bus.events import bars_request, event
from tests.serve.state.stores import valkey_server


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with valkey_server(tmp_path / "server") as (url, _):
        yield url


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file of two events."""
    path = tmp_path / "events.jsonl"
    lines = [msgspec.json.encode(event(f"syn-{i}", 5)) for i in range(2)]
    path.write_bytes(b"\n".join([*lines, b""]))
    return path


def called(*arguments: str, code: int = 0, **more: Any) -> Result:
    done = CliRunner().invoke(main, ["bus", *arguments], catch_exceptions=False, **more)
    assert done.exit_code == code, done.output
    return done


def test_events_of_a_file_are_sent_and_shown(url: str, file: Path) -> None:
    ids = called("send", str(file), "--bus", url).output.split()
    shown = called("tail", "synergies", "--bus", url).output.splitlines()
    assert [line.split()[0] for line in shown] == ids
    assert shown[0].endswith("syn-0: TYPE_2 long, confidence 0.8")
    rows = called("tail", "synergies", "--bus", url, "--json", "--count", "1").output.splitlines()
    (row,) = [json.loads(line) for line in rows]
    assert (row["entry_id"], row["message"]["event_id"]) == (ids[1], "syn-1")
    after = called("tail", "synergies", "--bus", url, "--after", ids[0]).output
    assert after.split()[0] == ids[1]


def test_what_cannot_be_read_is_shown_in_its_place(url: str, file: Path) -> None:
    with BusPublisher(url) as bus:
        bus.publish_fields(SYNERGIES, {"data": b"{"})
    called("send", str(file), "--bus", url)
    shown = called("tail", "synergies", "--bus", url).output.splitlines()
    assert "cannot be read: " in shown[0]
    assert [line.split()[3] for line in shown[1:]] == ["syn-0:", "syn-1:"]
    rows = called("tail", "synergies", "--bus", url, "--json").output.splitlines()
    assert list(json.loads(rows[0])) == ["entry_id", "error"]


def test_standard_input_and_the_environment_serve_as_well(url: str, file: Path) -> None:
    sent = called(
        "send", "-", "--want-decision", "--json", input=file.read_text(), env={"REDIS_URL": url}
    )
    first = json.loads(sent.output.splitlines()[0])
    assert first["stream"] == "synergies"
    with BusReader(url) as reader:
        assert [found.message.event_id for found in reader.read(SYNERGIES)] == ["syn-0", "syn-1"]


def test_nothing_is_sent_unless_every_line_is_right(url: str, file: Path) -> None:
    file.write_bytes(file.read_bytes() + b'{"event_id": "syn-9"}\n')
    with pytest.raises(UnreadableError, match=r"events\.jsonl: line 3: timestamp: is required"):
        called("send", str(file), "--bus", url)
    with pytest.raises(UnreadableError, match="there must be a message, found none"):
        called("send", "-", "--bus", url, input="\n")
    with pytest.raises(UnreadableError, match=r"nowhere: No such file"):
        called("send", "nowhere", "--bus", url)
    with BusReader(url) as reader:
        assert reader.read(SYNERGIES) == []


def test_every_stream_has_its_line_for_people(url: str) -> None:
    fill = FillInput("f-1", "BUY", 1.0, 100.0, 5)
    with BusPublisher(url) as bus:
        bus.publish(BARS, bars_request(0, 3))
        bus.publish(FILLS, FillsRequest("TEST", [fill], ["f-0"]))
        alert = Alert.of(AlertCode.BUS_SLOW, "late")
        bus.publish(ALERTS, AlertMessage(change="raised", issued_s=1.0, alert=alert))
    for name, text in (
        ("bars", "TEST: 3 bars, the last of 600"),
        ("fills", "TEST: 1 fills, 1 busts"),
        ("alerts", "raised warning bus: late"),
    ):
        assert called("tail", name, "--bus", url).output.endswith(f"{text}\n")


def test_pending_says_how_far_the_service_is(url: str, file: Path) -> None:
    called("send", str(file), "--bus", url)

    async def read_one() -> None:
        bus = RedisBus(url, "reader", 1.0)
        await bus.prepare()
        await bus.read(1, 0.01)
        await bus.close()

    asyncio.run(read_one())
    lines = called("pending", "--bus", url).output.splitlines()
    assert lines[0] == "synergies  1 not read, 1 not answered"
    assert lines[1].endswith("read once by reader")
    assert lines[2:] == [
        "bars       0 not read, 0 not answered",
        "fills      0 not read, 0 not answered",
    ]
    rows = [
        json.loads(line) for line in called("pending", "--bus", url, "--json").output.splitlines()
    ]
    assert [(row["stream"], row["pending"]) for row in rows] == [
        ("synergies", 1),
        ("bars", 0),
        ("fills", 0),
    ]
    assert rows[0]["waiting"][0]["deliveries"] == 1


def test_dead_letters_are_shown_and_sent_again(url: str) -> None:
    assert called("dead", "--bus", url).output == ""
    data = msgspec.json.encode(event("syn-1", 5)).decode()
    letter = DeadLetter(
        stream="synergies",
        entry_id="1-0",
        code="not_ready",
        message="too few bars",
        issued_s=1.0,
        deliveries=1,
        fields={"data": data},
    )
    with BusPublisher(url) as bus:
        place = bus.publish(DEAD, letter)
    shown = called("dead", "--bus", url, code=1).output
    assert shown.startswith(place)
    assert shown.endswith("synergies 1-0: not_ready: too few bars\n")
    sent = called("dead", "--bus", url, "--resend", place).output
    with BusReader(url) as reader:
        (entry,) = reader.read(SYNERGIES)
    assert sent == f"sent to synergies as {entry.entry_id}\n"
    assert entry.message == event("syn-1", 5)


def test_the_schema_of_one_stream_describes_its_messages(file: Path) -> None:
    schema = json.loads(called("schema", "synergies").output)
    jsonschema.validate(json.loads(file.read_text().splitlines()[0]), schema)
    assert set(json.loads(called("schema").output)["streams"]) >= {"synergies", "commands"}


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        (
            ["tail", "commands", "--bus", "unix:///nowhere"],
            ServiceError,
            "unix:///nowhere: Error 2",
        ),
        (["tail", "commands", "--bus", "here"], ServiceError, "the bus must be a URL"),
        (
            ["send", "-", "--stream", "bars", "--want-decision", "--bus", "unix:///nowhere"],
            UsageError,
            "--want-decision must be for synergies, found bars",
        ),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], kind: type[TacticalError], text: str) -> None:
    with pytest.raises(kind, match=text) as caught:
        called(*arguments)
    assert "\n" not in str(caught.value)


def test_the_bus_has_to_be_named() -> None:
    assert "Missing option '--bus'" in called("dead", code=2, env={"REDIS_URL": ""}).output
