"""Publishing to the bus and reading from it, on a real server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from rllib_tactical.errors import ServiceError
from serve.api.streams import ALERTS, BARS, DEAD, FILLS, GROUP, SYNERGIES, DeadLetter
from serve.api.write_requests import FillInput
from serve.bus.redis_bus import RedisBus
from serve.bus.status import BusFigures
from serve.client.bus import BEGIN, BusPublisher, BusReader, Received, resend
from serve.client.calls import Retries
from tests.serve.bus.events import bars_request, event
from tests.serve.state.stores import valkey_server

URL_OF_NOBODY = "unix:///nowhere/socket"


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with valkey_server(tmp_path / "server") as (url, _):
        yield url


def test_what_is_published_can_be_read(url: str) -> None:
    with BusPublisher(url) as publisher, BusReader(url) as reader:
        sent = event("syn-1", 5)
        first = publisher.synergy(sent, want_decision=True)
        publisher.bars("TEST", bars_request(0, 3).bars)
        publisher.fills("TEST", [FillInput("f-1", "BUY", 1.0, 100.0, 5)])
        assert reader.read(SYNERGIES) == [Received(first, sent)]
        assert reader.read(SYNERGIES, after=first) == []
        assert reader.read(BARS)[0].message.bars == bars_request(0, 3).bars
        assert reader.read(FILLS)[0].message.fills[0].fill_id == "f-1"
        assert reader.newest(ALERTS, 5) == []
        assert [(s.entries, s.lag, s.pending) for s in reader.inputs()] == [
            (1, 1, 0),
            (1, 1, 0),
            (1, 1, 0),
        ]


def test_unread_entries_are_counted_where_the_server_cannot_tell(url: str) -> None:
    with BusPublisher(url) as publisher, BusReader(url) as reader:
        sent = [publisher.synergy(event(f"syn-{i}", 5)) for i in range(4)]
        with redis.Redis.from_url(url) as server:
            # from the middle on: nobody has counted what was before
            server.xgroup_create("{tactical}:synergies", GROUP, sent[1])
            (group,) = server.xinfo_groups("{tactical}:synergies")
        assert group["lag"] is None
        assert reader.inputs()[0].lag == 2
        assert asyncio.run(_figures(url)).lag == 2


async def _figures(url: str) -> BusFigures:
    bus = RedisBus(url, "test", 1.0)
    try:
        await bus.prepare()
        return await bus.figures()
    finally:
        await bus.close()


@pytest.mark.slow
def test_a_follower_goes_on_after_the_entry_it_names(url: str) -> None:
    with BusPublisher(url) as publisher, BusReader(url) as reader:
        ids = [publisher.synergy(event(f"syn-{i}", 5)) for i in range(3)]
        follow = reader.follow(SYNERGIES, after=ids[0])
        assert [next(follow).entry_id for _ in range(2)] == ids[1:]
        later = threading.Timer(0.3, publisher.synergy, [event("syn-3", 5)])
        later.start()
        assert next(follow).message.event_id == "syn-3"
        newest = reader.follow(SYNERGIES)
        last = threading.Timer(0.3, publisher.synergy, [event("syn-4", 5)])
        last.start()
        assert next(newest).message.event_id == "syn-4"
        later.join()
        last.join()


def test_two_buses_on_one_server_are_apart(url: str) -> None:
    with BusPublisher(f"{url}#other") as publisher, BusReader(url) as reader:
        publisher.synergy(event("syn-1", 5))
        assert reader.read(SYNERGIES, after=BEGIN) == []


def test_a_dead_letter_is_sent_again_as_it_was(url: str) -> None:
    letter = DeadLetter(
        stream="synergies",
        entry_id="1-0",
        code="not_ready",
        message="no bars",
        issued_s=1.0,
        deliveries=1,
        fields={"data": '{"event_id": "é"}', "want": "decision"},
    )
    with BusPublisher(url) as publisher, BusReader(url) as reader:
        place = publisher.publish(DEAD, letter)
        assert reader.dead() == [Received(place, letter)]
        assert reader.dead_letter(place) == letter
        resend(publisher, letter)
        with pytest.raises(ServiceError, match="timestamp"):
            reader.read(SYNERGIES)  # it is as wrong as it was
        with pytest.raises(ServiceError, match="no dead letter 9-9 is on the bus"):
            reader.dead_letter("9-9")


def test_a_server_that_cannot_be_reached_is_an_error_of_one_line() -> None:
    publisher = BusPublisher(URL_OF_NOBODY, retries=Retries(count=1, first_pause_s=0.001))
    with pytest.raises(ServiceError) as caught:
        publisher.synergy(event("syn-1", 5))
    assert str(caught.value).startswith(URL_OF_NOBODY)
    assert "\n" not in str(caught.value)
    with pytest.raises(ServiceError, match=URL_OF_NOBODY):
        BusReader(URL_OF_NOBODY).inputs()


@pytest.mark.slow
def test_a_publisher_waits_for_a_server_that_comes_back(tmp_path: Path) -> None:
    with valkey_server(tmp_path / "server") as (url, server):
        publisher = BusPublisher(url, retries=Retries(count=40, first_pause_s=0.05))
        publisher.synergy(event("syn-1", 5))
        server.terminate()
        again = threading.Timer(0.3, server.start)
        again.start()
        publisher.synergy(event("syn-2", 5))
        again.join()
        with BusReader(url) as reader:
            assert [r.message.event_id for r in reader.read(SYNERGIES)] == ["syn-1", "syn-2"]
        publisher.close()
