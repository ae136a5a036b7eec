"""The load on the bus, and what is counted of it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from rllib_tactical.bench.bus_load import CommandLog, EventLoad, all_commands, drained
from serve.api.streams import SYNERGIES
from serve.client.bus import BusReader
from tests.serve.bus.commands import publish_command
from tests.serve.bus.events import event
from tests.serve.state.stores import valkey_server


@pytest.mark.slow
def test_every_event_is_published_some_more_than_once_and_not_in_order(tmp_path: Path) -> None:
    with valkey_server(tmp_path / "server") as (url, _):
        load = EventLoad(url, lambda name: event(name, 5), rate=400.0, seed=1)
        load.start()
        time.sleep(0.5)
        sent = load.stop()
        with BusReader(url) as reader:
            names = [r.message.event_id for r in reader.read(SYNERGIES, count=10_000)]
        assert set(names) == set(sent.at_s)
        assert sent.entries == len(names) > len(sent.at_s)
        numbers = [int(name.partition("-")[2]) for name in names]
        assert numbers != sorted(numbers)
        assert max(numbers) + 1 == len(sent.at_s)
        assert not drained(url, 0.1)  # nobody reads


@pytest.mark.slow
def test_commands_are_counted_as_they_come_and_in_all(tmp_path: Path) -> None:
    with valkey_server(tmp_path / "server") as (url, server):
        assert drained(url, 1.0)
        log = CommandLog(url)
        log.start()
        publish_command(url, "a")
        publish_command(url, "b")
        server.terminate()
        server.start()
        publish_command(url, "b")
        deadline = time.monotonic() + 20.0
        while log.counts.total() < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
        log.stop()
        assert log.counts == all_commands(url) == {"a": 1, "b": 2}
        assert log.at_s["a"] < log.at_s["b"]
