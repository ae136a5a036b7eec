"""The store on a Redis or Valkey server (7.0 or newer), for replicas on several machines."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import time
from typing import Any, Final

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from serve.api.redis_url import split_name, without_password
from serve.state.store import (
    Archive,
    ConflictError,
    DamagedError,
    Entry,
    Head,
    Image,
    Store,
    StoredRecord,
    StoredSnapshot,
    StoreError,
    after,
    chained,
    decode_record,
    encode_record,
    pack,
)

_LOG = logging.getLogger(__name__)
TIMEOUT_S: Final = 1.0
SNAPSHOTS_KEPT: Final = 2
_PARTS: Final = ("head", "records", "keys", "snapshots", "archives", "probe")

_APPEND: Final = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
local count = tonumber(ARGV[3])
for i = 4, 3 + count do redis.call('RPUSH', KEYS[2], ARGV[i]) end
for i = 4 + count, #ARGV do redis.call('SADD', KEYS[3], ARGV[i]) end
return 1
"""
"""Append records if the head is the one that the writer knows: all of it, or nothing."""

_ARCHIVE: Final = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('HSET', KEYS[5], ARGV[3], ARGV[4])
redis.call('LTRIM', KEYS[2], ARGV[5], -1)
for i = 6, #ARGV do redis.call('SREM', KEYS[3], ARGV[i]) end
return 1
"""
_OWN: Final = """
local found = redis.call('GET', KEYS[1])
if found and found ~= ARGV[1] then return found end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return false
"""
_DISOWN: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
"""
_ENCODE: Final = msgspec.json.Encoder().encode
_DECODE_HEAD: Final = msgspec.json.Decoder(Head).decode
_PACK: Final = msgspec.msgpack.Encoder().encode
_UNPACK_SNAPSHOT: Final = msgspec.msgpack.Decoder(StoredSnapshot).decode
_UNPACK_ARCHIVE: Final = msgspec.msgpack.Decoder(Archive).decode


class RedisStore(Store):
    """The store at ``redis://host:port/db#NAME``, in keys that begin with ``tactical:NAME:``.

    The server must keep an append-only file that it syncs at every write (``appendonly yes``,
    ``appendfsync always``): an answered write is on its disk.

    Raises:
        StoreError: the server cannot be reached, or does not keep what it is given.
    """

    local = False

    def __init__(self, url: str) -> None:
        address, name = split_name(url)
        self.name = without_password(address) + f"#{name}"
        self._prefix = f"tactical:{name}"
        self._keys = [f"{self._prefix}:{part}" for part in _PARTS]
        head, records, keys, snapshots, archives, probe = self._keys
        self._head_key, self._records_key, self._keys_key = head, records, keys
        self._snapshots_key, self._archives_key, self._probe_key = snapshots, archives, probe
        self._client: Any = redis.Redis.from_url(
            address,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            # once: the server may have closed an idle connection; a decision cannot wait for more
            retry=Retry(NoBackoff(), 1),
        )
        self._append = self._client.register_script(_APPEND)
        self._archive = self._client.register_script(_ARCHIVE)
        self._own = self._client.register_script(_OWN)
        self._disown = self._client.register_script(_DISOWN)
        self._require_durable()

    def version(self) -> int:
        """See ``Store.version``."""
        return self.head().sequence

    def head(self) -> Head:
        """See ``Store.head``."""
        with self._calling():
            return _head(self._client.get(self._head_key))

    def read_after(self, sequence: int) -> list[StoredRecord]:
        """See ``Store.read_after``."""
        with self._calling():
            head = _head(self._client.get(self._head_key))
            while True:
                pipe = self._client.pipeline(transaction=True)
                pipe.lrange(self._records_key, max(0, sequence - head.archived), -1)
                pipe.get(self._head_key)
                lines, raw_head = pipe.execute()
                archived, head = head.archived, _head(raw_head)
                if head.archived == archived:  # else the list was cut in between
                    found = [decode_record(line) for line in lines]
                    return [record for record in found if record.sequence > sequence]

    def append(self, expected: int, entries: Sequence[Entry]) -> list[StoredRecord]:
        """See ``Store.append``."""
        with self._calling():
            known = self._client.get(self._head_key) or b""
            head = _head(known)
            if head.sequence != expected:
                raise ConflictError(f"record {head.sequence} is the last, not {expected}")
            # as long as the head stays what it is, so do the keys
            new = [e for e in entries if e.key is None or not self._has_key(e.key)]
            records = chained(head, new)
            lines = [encode_record(record) for record in records]
            added = [entry.key for entry in new if entry.key is not None]
            changed = _ENCODE(after(head, records))
            done = self._append(keys=self._keys, args=[known, changed, len(lines), *lines, *added])
            if not done:
                raise ConflictError(f"record {expected} is no longer the last")
        return records

    def size(self) -> int:
        """See ``Store.size``."""
        with self._calling():
            keys = (self._records_key, self._archives_key)
            return sum(self._client.memory_usage(key) or 0 for key in keys)

    def probe(self) -> None:
        """See ``Store.probe``."""
        with self._calling():
            self._client.set(self._probe_key, time())

    def latest_snapshot(self) -> StoredSnapshot | None:
        """See ``Store.latest_snapshot``."""
        with self._calling():
            head = _head(self._client.get(self._head_key))
            found = self._snapshots()
            for snapshot in reversed(found):
                known = head.archived_hash
                if snapshot.sequence != head.archived:
                    place = snapshot.sequence - head.archived - 1
                    line = self._client.lindex(self._records_key, place) if place >= 0 else None
                    if line is None:
                        continue
                    known = decode_record(line).hash
                if known == snapshot.hash and snapshot.whole:
                    return snapshot
        return None

    def write_snapshot(self, snapshot: StoredSnapshot) -> None:
        """See ``Store.write_snapshot``."""
        with self._calling():
            self._client.hset(self._snapshots_key, str(snapshot.sequence), _PACK(snapshot))
            kept = sorted(int(name) for name in self._client.hkeys(self._snapshots_key))
            if old := kept[:-SNAPSHOTS_KEPT]:
                self._client.hdel(self._snapshots_key, *map(str, old))

    def archive(self, through: int) -> int:
        """See ``Store.archive``."""
        with self._calling():
            while True:
                known = self._client.get(self._head_key) or b""
                head = _head(known)
                count = through - head.archived
                if count <= 0:
                    return 0
                lines = self._client.lrange(self._records_key, 0, count - 1)
                records = [decode_record(line) for line in lines]
                last = records[-1]
                packed = pack(records)
                changed = msgspec.structs.replace(
                    head, archived=last.sequence, archived_hash=last.hash
                )
                keys = [record.key for record in records if record.key is not None]
                moved = [known, _ENCODE(changed), str(packed.first), _PACK(packed), len(records)]
                if self._archive(keys=self._keys, args=[*moved, *keys]):
                    return len(records)

    def image(self, archives: bool = False) -> Image:
        """See ``Store.image``."""
        with self._calling():
            pipe = self._client.pipeline(transaction=True)
            pipe.get(self._head_key)
            pipe.lrange(self._records_key, 0, -1)
            raw_head, lines = pipe.execute()
            packed = self._client.hvals(self._archives_key) if archives else []
            return Image(
                head=_head(raw_head),
                records=[decode_record(line) for line in lines],
                snapshots=self._snapshots(),
                archives=sorted((_unpacked(data) for data in packed), key=lambda a: a.first),
            )

    def replace(self, image: Image) -> str:
        """See ``Store.replace``."""
        with self._calling():
            number = 1
            while self._client.exists(f"{self._prefix}:damaged-{number}:head"):
                number += 1
            kept = f"{self._prefix}:damaged-{number}"
            for part, key in zip(_PARTS, self._keys, strict=True):
                if self._client.exists(key):
                    self._client.rename(key, f"{kept}:{part}")
            for record in image.records:
                self._client.rpush(self._records_key, encode_record(record))
                if record.key is not None:
                    self._client.sadd(self._keys_key, record.key)
            for snapshot in image.snapshots:
                self._client.hset(self._snapshots_key, str(snapshot.sequence), _PACK(snapshot))
            for packed in image.archives:
                self._client.hset(self._archives_key, str(packed.first), _PACK(packed))
            self._client.set(self._head_key, _ENCODE(image.head))
        return kept

    def own(self, name: str, seconds: float) -> str | None:
        """Keep the state for ``name`` for some time; return who has it if that is another one."""
        with self._calling():
            found = self._own(keys=[f"{self._prefix}:owner"], args=[name, int(seconds * 1e3)])
        return None if found is None else _text(found)

    def disown(self, name: str) -> None:
        """Let others have the state, if ``name`` has it."""
        with self._calling():
            self._disown(keys=[f"{self._prefix}:owner"], args=[name])

    def close(self) -> None:
        """See ``Store.close``."""
        self._client.close()

    def _has_key(self, key: str) -> bool:
        return bool(self._client.sismember(self._keys_key, key))

    def _snapshots(self) -> list[StoredSnapshot]:
        found = []
        for data in self._client.hvals(self._snapshots_key):
            try:
                found.append(_UNPACK_SNAPSHOT(data))
            except msgspec.DecodeError:
                _LOG.warning("a snapshot in %s cannot be read", self.name)
        return sorted(found, key=lambda snapshot: snapshot.sequence)

    def _require_durable(self) -> None:
        wanted = {"appendonly": "yes", "appendfsync": "always"}
        try:
            with self._calling():
                found = self._client.config_get(*wanted)
        except StoreError as error:
            if isinstance(error.__cause__, redis.exceptions.ResponseError):
                # some providers keep their settings to themselves
                _LOG.warning("%s does not say whether it syncs every write", self.name)
                return
            raise
        texts = {_text(name): _text(value) for name, value in found.items()}
        for name, value in wanted.items():
            if texts.get(name) != value:
                raise StoreError(f"{self.name}: {name} must be {value}, found {texts.get(name)}")

    @contextmanager
    def _calling(self) -> Iterator[None]:
        try:
            yield
        except (redis.exceptions.RedisError, OSError) as error:
            if isinstance(error, redis.exceptions.ReadOnlyError):
                # another server leads now, and the address may lead to it: connect anew
                self._client.connection_pool.disconnect()
            raise StoreError(f"{self.name}: {error}") from error


def _head(raw: bytes | None) -> Head:
    if not raw:
        return Head()
    try:
        head: Head = _DECODE_HEAD(raw)
        return head
    except msgspec.DecodeError as error:
        raise DamagedError(f"the head cannot be read: {error}") from error


def _unpacked(data: bytes) -> Archive:
    try:
        archive: Archive = _UNPACK_ARCHIVE(data)
        return archive
    except msgspec.DecodeError as error:
        raise DamagedError(f"an archive cannot be read: {error}") from error


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
