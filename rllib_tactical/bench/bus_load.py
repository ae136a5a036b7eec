"""Load on the bus: events with repeats and out of order, and a log of the commands they lead to."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from rllib_tactical.data.synergy_events import SynergyEvent
from rllib_tactical.errors import ServiceError
from serve.api.streams import COMMANDS, SYNERGIES, encode_fields
from serve.client.bus import BEGIN, BusPublisher, BusReader
from serve.client.calls import Retries

SHUFFLED: Final = 8
"""How many events that follow each other are sent in an order of chance."""

REPEATED: Final = 0.25
"""Share of the events that are sent more than once."""

_PATIENT: Final = Retries(count=200, first_pause_s=0.02, longest_pause_s=0.2)

MakeEvent = Callable[[str], SynergyEvent]


@dataclass(slots=True)
class Sent:
    """What was published: ``at_s`` when first (``perf_counter``) by event, ``entries`` in all."""

    at_s: dict[str, float] = field(default_factory=dict)
    entries: int = 0


class EventLoad:
    """Publishes events in a thread until it is stopped; every event is published at least once.

    Args:
        url: of the bus.
        make: returns the event of an id.
        rate: events per second, repeats not counted.
        seed: of repeats and order.
        disturbed: whether there are repeats and shuffles.
    """

    def __init__(
        self, url: str, make: MakeEvent, rate: float, seed: int, disturbed: bool = True
    ) -> None:
        self._url, self._make, self._rate = url, make, rate
        self._random, self._disturbed = random.Random(seed), disturbed
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent = Sent()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> Sent:
        """End once the last events are published."""
        self._ended.set()
        self._thread.join()
        return self.sent

    def _run(self) -> None:
        begun, count = time.perf_counter(), 0
        with BusPublisher(self._url, retries=_PATIENT) as bus:
            for names in self._batches():
                for name in names:
                    fields = encode_fields(self._make(name))
                    self.sent.at_s.setdefault(name, time.perf_counter())
                    bus.publish_fields(SYNERGIES, fields)
                    self.sent.entries += 1
                count += len(set(names))
                ahead_s = count / self._rate - (time.perf_counter() - begun)
                if ahead_s > 0:
                    time.sleep(ahead_s)

    def _batches(self) -> Iterator[list[str]]:
        number, old = 0, ["event-0"]
        while not self._ended.is_set():
            size = SHUFFLED if self._disturbed else 1
            names = [f"event-{number + i}" for i in range(size)]
            number += size
            if self._disturbed:
                names += [n for n in (*names, *old) if self._random.random() < REPEATED]
                self._random.shuffle(names)
                old = names[:SHUFFLED]
            yield names


class CommandLog:
    """Reads the commands in a thread as they come, whatever breaks meanwhile.

    ``at_s``: when each event's first command was read (``perf_counter``); ``counts``: how many
    commands each event had.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self.at_s: dict[str, float] = {}
        self.counts: Counter[str] = Counter()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        after = BEGIN
        with BusReader(self._url) as bus:
            while not self._ended.is_set():
                with suppress(ServiceError):
                    for entry in bus.wait(COMMANDS, after, limit_s=0.2):
                        after = entry.entry_id
                        self.at_s.setdefault(entry.message.event_id, time.perf_counter())
                        self.counts[entry.message.event_id] += 1


def all_commands(url: str) -> Counter[str]:
    """Return how many commands each event has on the bus."""
    counts: Counter[str] = Counter()
    after = BEGIN
    with BusReader(url) as bus:
        while found := bus.read(COMMANDS, after, count=5_000):
            counts.update(entry.message.event_id for entry in found)
            after = found[-1].entry_id
    return counts


def drained(url: str, patience_s: float) -> bool:
    """Wait until the service has answered everything; give up when it answers nothing for long."""
    best, changed = -1, time.monotonic()
    with BusReader(url) as bus:
        while time.monotonic() - changed < patience_s:
            with suppress(ServiceError):
                left = sum(state.pending + state.lag for state in bus.inputs(1))
                if left == 0:
                    return True
                if left != best:
                    best, changed = left, time.monotonic()
            time.sleep(0.02)
    return False
