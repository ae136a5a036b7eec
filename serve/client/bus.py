"""Publish to the bus and read from it: typed, blocking, on a Redis or Valkey server.

Needs the extra ``redis``. What is published may be published again: events are known by their ids,
bars by their times, fills by their ids. So a call without an answer is repeated a few times.

    with BusPublisher("redis://127.0.0.1:6379/0") as bus:
        bus.synergy(SynergyEvent(event_id="syn-1042", ...))

    with BusReader("redis://127.0.0.1:6379/0") as bus:
        for message in bus.follow(COMMANDS, after=last_entry_id):
            ...
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar, cast

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.exceptions import ReadOnlyError, RedisError, ResponseError
from redis.retry import Retry

from rllib_tactical.data.synergy_events import SynergyEvent
from rllib_tactical.errors import ServiceError
from serve.api.errors import RequestError
from serve.api.redis_url import without_password
from serve.api.streams import (
    BARS,
    COUNTED,
    DEAD,
    DECISION,
    FILLS,
    GROUP,
    INPUTS,
    STREAMS,
    SYNERGIES,
    BusAddress,
    DeadLetter,
    Stream,
    decode_fields,
    encode_fields,
)
from serve.api.write_requests import BarInput, BarsRequest, FillInput, FillsRequest
from serve.client.calls import Retries

DEFAULT_TIMEOUT_S: Final = 5.0
BEGIN: Final = "0-0"
END: Final = "$"
"""Where ``follow`` starts: before the first entry, or after the newest one."""

MessageT = TypeVar("MessageT", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Received(Generic[MessageT]):
    """One entry; keep ``entry_id`` to go on after it."""

    entry_id: str
    message: MessageT


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """An entry that a service has read and not answered."""

    stream: str
    entry_id: str
    consumer: str
    idle_s: float
    deliveries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InputState:
    """How far the services are: ``lag`` entries are not read, ``pending`` are not answered."""

    stream: str
    entries: int
    lag: int
    pending: int
    waiting: list[Waiting]


class _Client:
    """A connection to a bus, opened with the first call. Close it, or use it in a ``with``."""

    def __init__(
        self, url: str, timeout_s: float = DEFAULT_TIMEOUT_S, retries: Retries | None = None
    ) -> None:
        self._address = BusAddress.of(url)
        self._shown = without_password(self._address.address)
        self._retries = retries or Retries()
        self._redis: Any = redis.Redis.from_url(
            self._address.address,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
        )

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _key(self, stream: Stream) -> str:
        return self._address.key(stream.name)

    @contextmanager
    def _calling(self) -> Iterator[None]:
        try:
            yield
        except (RedisError, OSError) as error:
            raise ServiceError(f"{self._shown}: {str(error) or type(error).__name__}") from error


class BusPublisher(_Client):
    """Publishes what goes in to the service.

    Args:
        url: ``redis://HOST:PORT/DB#NAME``; the name may be left out.
        timeout_s: of one attempt.
        retries: how a call without an answer is repeated.

    Every call returns the entry's id, and raises ``ServiceError`` when the server cannot be reached
    or takes nothing more.
    """

    def synergy(self, event: SynergyEvent, want_decision: bool = False) -> str:
        """Publish a SYNERGY_DETECTED event; ``want_decision`` asks for its decision too."""
        return self.publish(SYNERGIES, event, DECISION if want_decision else None)

    def bars(self, symbol: str, bars: Sequence[BarInput], revise: bool = False) -> str:
        """Publish closed bars of one symbol, oldest first."""
        return self.publish(BARS, BarsRequest(symbol, list(bars), revise))

    def fills(self, symbol: str, fills: Sequence[FillInput]) -> str:
        """Publish the broker's fills, in the order in which they happened."""
        return self.publish(FILLS, FillsRequest(symbol, list(fills)))

    def publish(self, stream: Stream, message: msgspec.Struct, want: str | None = None) -> str:
        """Publish a message on the stream that takes its type."""
        return self.publish_fields(stream, encode_fields(message, want))

    def publish_fields(self, stream: Stream, fields: Mapping[str, bytes]) -> str:
        """Publish an entry as it is."""
        pauses = self._retries.pauses()
        while True:
            with self._calling():
                try:
                    entry_id: bytes = self._redis.xadd(self._key(stream), dict(fields))
                    return entry_id.decode()
                except (RedisError, OSError) as error:
                    if isinstance(error, ReadOnlyError):
                        # another server leads now, and the address may lead to it
                        self._redis.connection_pool.disconnect()
                    elif isinstance(error, ResponseError):
                        raise  # refused: the server would refuse it again
                    pause_s = next(pauses, None)
                    if pause_s is None:
                        raise
            time.sleep(pause_s)


class BusReader(_Client):
    """Reads what comes out of the service, and how far the service is with what goes in.

    Args:
        url: ``redis://HOST:PORT/DB#NAME``; the name may be left out.
        timeout_s: of one attempt.
        retries: how ``follow`` goes on after a break of the connection.
        keep_errors: an entry that is not of its stream's type has the ``RequestError`` as its
            message; otherwise the call raises it.
    """

    def __init__(
        self,
        url: str,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retries: Retries | None = None,
        keep_errors: bool = False,
    ) -> None:
        super().__init__(url, timeout_s, retries)
        self._keep_errors = keep_errors

    def read(self, stream: Stream, after: str = BEGIN, count: int = 100) -> list[Received[Any]]:
        """Return up to ``count`` messages after an entry, oldest first; waits for none.

        Raises:
            RequestError: an entry is not of the stream's type.
            ServiceError: the server cannot be reached.
        """
        with self._calling():
            found = self._redis.xrange(self._key(stream), f"({after}", "+", count)
        return [self._received(stream, *entry) for entry in found]

    def newest(self, stream: Stream, count: int) -> list[Received[Any]]:
        """Return the newest messages, oldest first; see ``read``."""
        with self._calling():
            found = self._redis.xrevrange(self._key(stream), count=count)
        return [self._received(stream, *entry) for entry in reversed(found)]

    def wait(self, stream: Stream, after: str = BEGIN, limit_s: float = 0.5) -> list[Received[Any]]:
        """Return messages after an entry; waits for one up to ``limit_s``, see ``read``."""
        with self._calling():
            block = max(1, round(limit_s * 1e3))
            found = self._redis.xread({self._key(stream): after}, count=100, block=block)
        pairs = found.items() if isinstance(found, dict) else found or ()
        return [self._received(stream, *entry) for _, entries in pairs for entry in entries]

    def follow(self, stream: Stream, after: str = END) -> Iterator[Received[Any]]:
        """Yield messages as they come, without end; see ``read``.

        A break of the connection is waited out, and nothing is left out or given twice.
        """
        pauses = self._retries.pauses()
        while True:
            try:
                if after == END:
                    newest = self.newest(stream, 1)
                    after = newest[0].entry_id if newest else BEGIN
                found = self.wait(stream, after)
            except RequestError:
                raise
            except ServiceError:
                pause_s = next(pauses, None)
                if pause_s is None:
                    raise
                time.sleep(pause_s)
                continue
            pauses = self._retries.pauses()
            for received in found:
                after = received.entry_id
                yield received

    def inputs(self, count: int = 100) -> list[InputState]:
        """Return how far the services are with each stream; up to ``count`` that wait in each."""
        with self._calling():
            return [self._input(stream, count) for stream in INPUTS]

    def dead(self, count: int = 100) -> list[Received[DeadLetter]]:
        """Return the newest dead letters, oldest first."""
        return self.newest(DEAD, count)

    def dead_letter(self, entry_id: str) -> DeadLetter:
        """Return one dead letter.

        Raises:
            ServiceError: there is none with this id.
        """
        with self._calling():
            found = self._redis.xrange(self._key(DEAD), entry_id, entry_id)
        if not found:
            raise ServiceError(f"no dead letter {entry_id} is on the bus")
        return cast(DeadLetter, decode_fields(DEAD, found[0][1]))

    def _received(
        self, stream: Stream, entry_id: bytes, fields: Mapping[bytes, bytes]
    ) -> Received[Any]:
        try:
            message = decode_fields(stream, fields)
        except RequestError as error:
            if not self._keep_errors:
                raise
            message = error
        return Received(entry_id.decode(), message)

    def _lag(self, key: str, group: dict[str, Any]) -> int:
        """Return how many entries the group has not read, counted where the server cannot tell.

        Redis 7.0 forgets it when it is started again.
        """
        known: int | None = group.get("lag")
        if known is not None:
            return known
        last = _text(group["last-delivered-id"])
        return len(self._redis.xrange(key, f"({last}", "+", COUNTED))

    def _input(self, stream: Stream, count: int) -> InputState:
        key = self._key(stream)
        if not self._redis.exists(key):
            return InputState(stream=stream.name, entries=0, lag=0, pending=0, waiting=[])
        entries = self._redis.xlen(key)
        groups = [g for g in self._redis.xinfo_groups(key) if _text(g["name"]) == GROUP]
        if not groups:  # no service has ever read it
            return InputState(
                stream=stream.name, entries=entries, lag=entries, pending=0, waiting=[]
            )
        waiting = self._redis.xpending_range(key, GROUP, "-", "+", count)
        return InputState(
            stream=stream.name,
            entries=entries,
            lag=self._lag(key, groups[0]),
            pending=groups[0]["pending"],
            waiting=[
                Waiting(
                    stream=stream.name,
                    entry_id=_text(one["message_id"]),
                    consumer=_text(one["consumer"]),
                    idle_s=one["time_since_delivered"] / 1e3,
                    deliveries=one["times_delivered"],
                )
                for one in waiting
            ],
        )


def resend(publisher: BusPublisher, letter: DeadLetter) -> str:
    """Publish a dead letter's entry again, as it was; return the new entry's id."""
    fields = {name: value.encode() for name, value in letter.fields.items()}
    return publisher.publish_fields(STREAMS[letter.stream], fields)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
