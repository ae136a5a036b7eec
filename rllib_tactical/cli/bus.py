"""The commands ``bus send``, ``tail``, ``pending``, ``dead`` and ``schema``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from rllib_tactical.data.synergy_events import SynergyEvent
from rllib_tactical.errors import UnreadableError, UsageError
from serve.api.errors import RequestError
from serve.api.streams import (
    DATA,
    DECISION,
    INPUTS,
    STREAMS,
    SYNERGIES,
    AlertMessage,
    CommandMessage,
    DeadLetter,
    DecisionMessage,
    Stream,
    decode_fields,
    json_schemas,
)
from serve.api.write_requests import BarsRequest
from serve.client.bus import BusPublisher, BusReader, Received, resend

_BUS: Final = click.option(
    "--bus",
    envvar="REDIS_URL",
    show_envvar=True,
    required=True,
    metavar="URL",
    help="redis://HOST:PORT/DB of the server, with #NAME behind it for a bus of another name.",
)
_JSON: Final = click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
_COUNT: Final = click.option(
    "--count", default=20, show_default=True, type=click.IntRange(min=1), help="How many at most."
)


@click.group("bus")
def bus_group() -> None:
    """Send to the bus of the decision service, and look at what is on it."""


@bus_group.command("send")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--stream",
    "name",
    type=click.Choice([stream.name for stream in INPUTS]),
    default=SYNERGIES.name,
    show_default=True,
    help="Where to send.",
)
@click.option("--want-decision", is_flag=True, help="Have the decision on an event published too.")
@_BUS
@_JSON
def send_command(file: Path, name: str, want_decision: bool, bus: str, as_json: bool) -> None:
    """Publish the messages of FILE, one JSON document per line; - reads standard input.

    Every line is checked before the first one is sent. Sending again does no harm: events are
    known by their ids, bars by their times, fills by their ids.
    """
    stream = STREAMS[name]
    if want_decision and stream is not SYNERGIES:
        raise UsageError(f"--want-decision must be for {SYNERGIES.name}, found {name}")
    lines = list(_checked(file, stream))
    with BusPublisher(bus) as publisher:
        for message in lines:
            entry_id = publisher.publish(stream, message, DECISION if want_decision else None)
            click.echo(_line({"stream": name, "entry_id": entry_id}) if as_json else entry_id)


@bus_group.command("tail")
@click.argument("name", type=click.Choice(list(STREAMS)), metavar="STREAM")
@click.option("--follow", is_flag=True, help="Wait for what comes, until interrupted.")
@click.option("--after", metavar="ENTRY", help="Begin after this entry, not with the newest ones.")
@_COUNT
@_BUS
@_JSON
def tail_command(
    name: str, follow: bool, after: str | None, count: int, bus: str, as_json: bool
) -> None:
    """Show the newest messages of STREAM.

    STREAM is synergies, bars, fills (what goes in to the service), commands, decisions, alerts or
    dead (what comes out).
    """
    stream = STREAMS[name]
    with BusReader(bus, keep_errors=True) as reader:
        found = reader.newest(stream, count) if after is None else reader.read(stream, after, count)
        for entry in found:
            _show(entry, as_json)
        if follow:
            last = found[-1].entry_id if found else after or "0-0"
            for entry in reader.follow(stream, after=last):
                _show(entry, as_json)


@bus_group.command("pending")
@_COUNT
@_BUS
@_JSON
def pending_command(count: int, bus: str, as_json: bool) -> None:
    """Show how far the service is: entries that it has not read, or not answered.

    Exit code 1 when an entry waits for longer than a minute to be answered.
    """
    with BusReader(bus) as reader:
        states = reader.inputs(count)
    if as_json:
        for state in states:
            click.echo(_line(msgspec.to_builtins(state)))
    else:
        for state in states:
            click.echo(f"{state.stream:<10} {state.lag} not read, {state.pending} not answered")
            for one in state.waiting:
                times = "once" if one.deliveries == 1 else f"{one.deliveries} times"
                click.echo(
                    f"  {one.entry_id}  for {one.idle_s:.1f} s, read {times} by {one.consumer}"
                )
    if any(one.idle_s > 60.0 for state in states for one in state.waiting):
        raise click.exceptions.Exit(1)


@bus_group.command("dead")
@click.option("--resend", "entry_id", metavar="ENTRY", help="Send the entry of this letter again.")
@_COUNT
@_BUS
@_JSON
def dead_command(entry_id: str | None, count: int, bus: str, as_json: bool) -> None:
    """Show the newest dead letters: entries that the service could not answer, and why.

    Exit code 1 when there are any.
    """
    with BusReader(bus) as reader:
        if entry_id is not None:
            letter = reader.dead_letter(entry_id)
            with BusPublisher(bus) as publisher:
                sent = resend(publisher, letter)
            shown = {"stream": letter.stream, "entry_id": sent}
            click.echo(_line(shown) if as_json else f"sent to {letter.stream} as {sent}")
            return
        letters = reader.dead(count)
    for found in letters:
        _show(found, as_json)
    if letters:
        raise click.exceptions.Exit(1)


@bus_group.command("schema")
@click.argument("name", required=False, type=click.Choice(list(STREAMS)), metavar="[STREAM]")
def schema_command(name: str | None) -> None:
    """Print the JSON Schema of the messages of STREAM, or of all streams. Needs no server."""
    document = json_schemas()
    if name is not None:
        document = {
            "$schema": document["$schema"],
            **document["streams"][name]["message"],
            "$defs": document["$defs"],
        }
    click.echo(json.dumps(document, indent=2))


def _checked(file: Path, stream: Stream) -> Iterator[Any]:
    """Yield the messages of a file.

    Raises:
        UnreadableError: it cannot be read, has no message, or a line is not one of the stream.
    """
    named = "standard input" if str(file) == "-" else str(file)
    try:
        data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise UnreadableError(f"{file}: {error.strerror}") from error
    lines = [(i, line) for i, line in enumerate(data.splitlines(), start=1) if line.strip()]
    if not lines:
        raise UnreadableError(f"{named}: there must be a message, found none")
    for number, line in lines:
        try:
            yield decode_fields(stream, {DATA.encode(): line})
        except RequestError as error:
            raise UnreadableError(f"{named}: line {number}: {error}") from error


def _show(entry: Received[Any], as_json: bool) -> None:
    if as_json:
        row = {"entry_id": entry.entry_id}
        if isinstance(entry.message, RequestError):
            click.echo(_line({**row, "error": str(entry.message)}))
        else:
            click.echo(_line({**row, "message": msgspec.to_builtins(entry.message)}))
        return
    time_ms = int(entry.entry_id.partition("-")[0])
    at = datetime.fromtimestamp(time_ms / 1e3, UTC).strftime("%Y-%m-%d %H:%M:%S")
    click.echo(f"{entry.entry_id}  {at}  {_summary(entry.message)}")


def _summary(message: Any) -> str:
    """Return a message, or why there is none, in one line for people."""
    if isinstance(message, RequestError):
        return f"cannot be read: {message}"
    if isinstance(message, CommandMessage):
        order = message.execution_command
        text = f"{message.event_id}: {order.side} {order.quantity:g} {order.symbol}"
        if order.stop_loss is None or order.take_profit is None:
            return text
        return f"{text}, stop {order.stop_loss:g}, target {order.take_profit:g}"
    if isinstance(message, DecisionMessage):
        made = message.answer.decision
        return (
            f"{message.event_id}: {made.action} ({made.reason}), confidence {made.confidence:.3f}"
        )
    if isinstance(message, AlertMessage):
        alert = message.alert
        return f"{message.change} {alert.severity} {alert.component}: {alert.message}"
    if isinstance(message, DeadLetter):
        return f"{message.stream} {message.entry_id}: {message.code}: {message.message}"
    if isinstance(message, SynergyEvent):
        kind = f"{message.synergy_type} {'long' if message.direction > 0 else 'short'}"
        return f"{message.event_id}: {kind}, confidence {message.confidence:g}"
    if isinstance(message, BarsRequest):
        last = message.bars[-1].timestamp
        return f"{message.symbol}: {len(message.bars)} bars, the last of {last}"
    return f"{message.symbol}: {len(message.fills)} fills, {len(message.busts)} busts"


def _line(value: Any) -> str:
    return json.dumps(value)
