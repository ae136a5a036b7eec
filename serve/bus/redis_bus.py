"""The bus on a Redis or Valkey server (7.0 or newer): every call of the service, one method each.

One consumer at a time has the lease of the group and reads; the others stand by. What comes of an
entry is written by one script: the command, the event's mark and the acknowledgment are there
together, or none of them is. A repeated call finds the entry acknowledged and changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, NamedTuple

import msgspec
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ReadOnlyError, RedisError, ResponseError

from rllib_tactical.errors import ServiceError
from serve.api.redis_url import without_password
from serve.api.streams import (
    ALERTS,
    COMMANDS,
    COUNTED,
    DATA,
    DEAD,
    DECISIONS,
    GROUP,
    INPUTS,
    STREAMS,
    AlertMessage,
    BusAddress,
    CommandMessage,
    DeadLetter,
    DecisionMessage,
    Stream,
)
from serve.bus.scripts import FORGET, RELEASE, RENEW, SETTLE
from serve.bus.status import BusFigures

TIMEOUT_S: Final = 5.0
"""How long the server may take to answer."""

RETENTION_S: Final = 7 * 86_400
"""How long entries stay in the streams; an event's mark stays a day longer."""

MARK_S: Final = RETENTION_S + 86_400

_IDLE_MS: Final = 3_600_000
_WANTED: Final = {"appendonly": ("yes",), "maxmemory-policy": ("noeviction",)}


class BusError(ServiceError):
    """The bus cannot be reached, or does not take what it is given."""


class LeaseLostError(BusError):
    """Another consumer has taken over."""


class Lease(Enum):
    """Whose the lease is: this consumer's anew, this consumer's still, or another's."""

    TAKEN = "taken"
    RENEWED = "renewed"
    OF_ANOTHER = "of another"


class Entry(NamedTuple):
    """One entry that was read; ``deliveries``: how often, this time included."""

    stream: Stream
    entry_id: str
    fields: Mapping[bytes, bytes]
    deliveries: int = 1

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from every other entry."""
        return self.stream.name, self.entry_id

    @property
    def place(self) -> tuple[int, int]:
        """When the server got it (epoch milliseconds), and its number among those."""
        time_ms, _, number = self.entry_id.partition("-")
        return int(time_ms), int(number)

    @property
    def received_s(self) -> float:
        """Epoch seconds at which the server got it, by the server's clock."""
        return self.place[0] / 1e3


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What comes of an entry: an outcome for its event, a dead letter, or just that it is done.

    ``event_id`` is None for an entry that is no event. A ``dead`` letter beside an event is
    published only if the event's id was used for another event, whose digest differs.
    """

    entry: Entry
    event_id: str | None = None
    digest: str = ""
    command: CommandMessage | None = None
    decision: DecisionMessage | None = None
    dead: DeadLetter | None = None


class RedisBus:
    """One consumer's connection; the server is not asked before the first call.

    Args:
        url: ``redis://HOST:PORT/DB#NAME``.
        consumer: a name of its own in the group.
        lease_s: for how long the lease is taken or renewed.

    Every call raises ``BusError`` when the server cannot be reached or refuses it.
    """

    def __init__(self, url: str, consumer: str, lease_s: float) -> None:
        self.address = BusAddress.of(url)
        self.shown = without_password(self.address.address) + f"#{self.address.name}"
        self._consumer, self._lease_ms = consumer, round(lease_s * 1e3)
        self._client: Any = redis.asyncio.Redis.from_url(
            self.address.address,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            # the consumer goes through its own steps again when a connection breaks
            retry=Retry(NoBackoff(), 0),
        )
        self._is_demoted = False
        self._lease = self._key("lease")
        self._streams = {self._key(stream.name): stream for stream in INPUTS}
        self._settle = self._client.register_script(SETTLE)
        self._renew = self._client.register_script(RENEW)
        self._release = self._client.register_script(RELEASE)
        self._forget = self._client.register_script(FORGET)

    async def prepare(self) -> str | None:
        """Make the streams and the group; return what the server may lose, None for nothing.

        Raises:
            BusError: also when the server keeps nothing on disk, or drops keys when it is full.
        """
        await self._leave_a_demoted_server()
        with self._calling():
            try:
                found = await self._client.config_get(*_WANTED, "appendfsync")
            except ResponseError:
                found = None  # some providers keep their settings to themselves
            if found is not None:
                texts = {_text(name): _text(value) for name, value in found.items()}
                for name, allowed in _WANTED.items():
                    if texts.get(name) not in allowed:
                        wanted = " or ".join(allowed)
                        raise BusError(f"{name} must be {wanted}, found {texts.get(name)}")
            for key in self._streams:
                try:
                    await self._client.xgroup_create(key, GROUP, id="0", mkstream=True)
                except ResponseError as error:
                    if not str(error).startswith("BUSYGROUP"):
                        raise
        if found is None:
            return "the server does not say whether it keeps what it is given"
        if texts.get("appendfsync") != "always":
            return (
                f"appendfsync is {texts.get('appendfsync')}: a crash of the server may lose its "
                "last second, so that an order is published twice or an event is lost"
            )
        return None

    async def lead(self) -> Lease:
        """Take the lease or renew it; say whose it is."""
        await self._leave_a_demoted_server()
        with self._calling():
            arguments: list[str | int] = [self._consumer, self._lease_ms]
            if await self._renew(keys=[self._lease], args=arguments):
                return Lease.RENEWED
            taken = await self._client.set(self._lease, self._consumer, nx=True, px=self._lease_ms)
            return Lease.TAKEN if taken else Lease.OF_ANOTHER

    async def resign(self) -> None:
        """Give the lease back, so that another consumer need not wait for its end."""
        with self._calling():
            await self._release(keys=[self._lease], args=[self._consumer])

    async def read(self, count: int, block_s: float) -> list[Entry]:
        """Return up to ``count`` entries of each stream that nobody has read, oldest first."""
        with self._calling():
            found = await self._client.xreadgroup(
                GROUP,
                self._consumer,
                dict.fromkeys(self._streams, ">"),
                count=count,
                block=max(1, round(block_s * 1e3)),
            )
        return [
            Entry(self._streams[_text(key)], _text(entry_id), fields)
            for key, entries in _pairs(found)
            for entry_id, fields in entries
        ]

    async def claim(self, stream: Stream, start: str) -> tuple[str, Entry | None]:
        """Take over the next entry that a consumer has read and not answered.

        One at a time: an entry that ends the process must not count against those behind it.

        Args:
            stream: where to look.
            start: where the call before ended, ``0-0`` at first.

        Returns:
            Where the next call starts, ``0-0`` at the end; and the entry, if there was one.
        """
        key = self._key(stream.name)
        with self._calling():
            found = await self._client.xautoclaim(key, GROUP, self._consumer, 0, start, count=1)
            following, entries = _text(found[0]), found[1]
            if not entries:
                return following, None
            entry_id, fields = entries[0]
            known = await self._client.xpending_range(key, GROUP, entry_id, entry_id, 1)
        deliveries = known[0]["times_delivered"] if known else 1
        return following, Entry(stream, _text(entry_id), fields, deliveries)

    async def marks(self, event_ids: Sequence[str]) -> list[bool]:
        """Return which of some events, at least one, have been answered."""
        with self._calling():
            found = await self._client.mget([self._mark(event_id) for event_id in event_ids])
        return [mark is not None for mark in found]

    async def settle(self, settlements: Sequence[Settlement]) -> list[str]:
        """Write what comes of some entries, each in one step.

        Returns:
            For each ``done``, ``repeat`` (the event was answered before), ``conflict`` (its id was
            used for another event) or ``gone`` (the entry was answered before).

        Raises:
            LeaseLostError: another consumer has the lease; what was written before it took it is.
        """
        with self._calling():
            pipe = self._client.pipeline(transaction=False)
            for one in settlements:
                keys = [
                    self._lease,
                    self._key(one.entry.stream.name),
                    self._mark(one.event_id or ""),
                    *(self._key(stream.name) for stream in (COMMANDS, DECISIONS, DEAD)),
                ]
                arguments: list[str | int | bytes] = [
                    self._consumer,
                    GROUP,
                    one.entry.entry_id,
                    one.digest,
                    MARK_S * 1000,
                    *(_document(part) for part in (one.command, one.decision, one.dead)),
                ]
                await self._settle(keys=keys, args=arguments, client=pipe)
            outcomes = [_text(outcome) for outcome in await pipe.execute()]
        if "lease lost" in outcomes:
            raise LeaseLostError("another consumer has taken over")
        return outcomes

    async def alert(self, messages: Sequence[AlertMessage]) -> None:
        """Publish alerts."""
        with self._calling():
            for message in messages:
                await self._client.xadd(
                    self._key(ALERTS.name), {DATA: msgspec.json.encode(message)}
                )

    async def figures(self) -> BusFigures:
        """Return how much waits."""
        with self._calling():
            pipe = self._client.pipeline(transaction=False)
            for key in self._streams:
                pipe.xinfo_groups(key)
                pipe.xpending(key, GROUP)
            pipe.xlen(self._key(DEAD.name))
            pipe.time()
            *found, dead, (seconds, _) = await pipe.execute()
        lags = [
            await self._lag(key, groups)
            for key, groups in zip(self._streams, found[::2], strict=True)
        ]
        known = [waiting["min"] for waiting in found[1::2] if waiting["pending"]]
        oldest_ms = min((int(_text(first).partition("-")[0]) for first in known), default=None)
        return BusFigures(
            lag=sum(lags),
            pending=sum(waiting["pending"] for waiting in found[1::2]),
            dead=dead,
            oldest_s=0.0 if oldest_ms is None else max(0.0, seconds - oldest_ms / 1e3),
        )

    async def _lag(self, key: str, groups: Sequence[dict[str, Any]]) -> int:
        """Return how many entries have not been read, counted where the server cannot tell.

        Redis 7.0 forgets it when it is started again.
        """
        known: int | None = _field(groups, "lag")
        if known is None:
            last = _field(groups, "last-delivered-id")
            after = "-" if last is None else f"({_text(last)}"
            known = len(await self._client.xrange(key, after, "+", COUNTED))
        return known

    async def tidy(self) -> None:
        """Drop entries beyond the retention that are answered, and consumers that are gone."""
        with self._calling():
            seconds, _ = await self._client.time()
            limit = (seconds - RETENTION_S) * 1000
            for name, stream in STREAMS.items():
                key, floor = self._key(name), f"{limit}-0"
                if stream in INPUTS:
                    floor = min(floor, await self._unanswered(key), key=_place)
                    await self._forget(keys=[key], args=[GROUP, self._consumer, _IDLE_MS])
                await self._client.xtrim(key, minid=floor, approximate=True)

    async def close(self) -> None:
        """Close the connections."""
        with suppress(RedisError, OSError):
            await self._client.aclose()

    async def _leave_a_demoted_server(self) -> None:
        """Connect anew: another server leads now, and the address may lead to it."""
        if self._is_demoted:
            self._is_demoted = False
            await self._client.connection_pool.disconnect()

    async def _unanswered(self, key: str) -> str:
        """Return an id up to which all entries of a stream are answered."""
        waiting = await self._client.xpending(key, GROUP)
        if waiting["pending"]:
            return _text(waiting["min"])
        groups = await self._client.xinfo_groups(key)
        return _text(_field(groups, "last-delivered-id"))

    def _key(self, part: str) -> str:
        return self.address.key(part)

    def _mark(self, event_id: str) -> str:
        return self._key(f"event:{event_id}")

    @contextmanager
    def _calling(self) -> Iterator[None]:
        try:
            yield
        except (RedisError, OSError) as error:
            self._is_demoted |= isinstance(error, ReadOnlyError)
            raise BusError(f"{self.shown}: {str(error) or type(error).__name__}") from error
        except BusError as error:
            raise type(error)(f"{self.shown}: {error}") from error


def digest_of(fields: Mapping[bytes, bytes]) -> str:
    """Return what tells an event from another one with its id."""
    return hashlib.sha256(fields[DATA.encode()]).hexdigest()


def _document(message: msgspec.Struct | None) -> bytes:
    return b"" if message is None else msgspec.json.encode(message)


def _field(groups: Sequence[Mapping[str, Any]], name: str) -> Any:
    """Return a value of our group, None where the server cannot tell it."""
    return next((group.get(name) for group in groups if _text(group["name"]) == GROUP), None)


def _place(entry_id: str) -> tuple[int, int]:
    time_ms, _, number = entry_id.partition("-")
    return int(time_ms), int(number)


def _pairs(found: Any) -> Any:
    """Return what XREADGROUP answered as pairs, whichever version of the protocol was spoken."""
    return found.items() if isinstance(found, dict) else found or ()


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
