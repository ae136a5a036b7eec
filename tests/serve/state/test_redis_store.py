"""The store on a server; what all stores do is in ``test_store``."""

from __future__ import annotations

from pathlib import Path

import pytest

from serve.state.redis_store import RedisStore
from serve.state.store import DamagedError, Head, StoreError
from tests.serve.state.stores import entries, valkey_server


def test_a_server_that_does_not_sync_every_write_is_refused(tmp_path: Path) -> None:
    with (
        valkey_server(tmp_path, appendfsync="everysec") as (url, _),
        pytest.raises(StoreError, match="appendfsync must be always, found everysec"),
    ):
        RedisStore(f"{url}#TEST")


def test_a_server_that_is_killed_comes_back_with_every_write(tmp_path: Path) -> None:
    with valkey_server(tmp_path) as (url, server):
        store = RedisStore(f"{url}#TEST")
        made = store.append(0, entries(50))
        assert server._process is not None
        server._process.kill()
        server._process.wait()
        for call in (store.version, store.probe, store.image):
            with pytest.raises(StoreError):
                call()
        server._process = None
        server.start()
        assert store.read_after(0) == made
        assert store.append(50, entries(1))[0].sequence == 51
        store.close()


def test_a_password_is_not_in_the_name() -> None:
    with pytest.raises(StoreError) as error:
        RedisStore("redis://me:secret@127.0.0.1:1/0#TEST")
    assert "redis://127.0.0.1:1/0#TEST" in str(error.value)
    assert "secret" not in str(error.value)


def test_what_cannot_be_read_is_damaged(tmp_path: Path) -> None:
    with valkey_server(tmp_path) as (url, _):
        store = RedisStore(f"{url}#TEST")
        store.append(0, entries(3))
        store._client.lset("tactical:TEST:records", 1, b"no record")
        with pytest.raises(DamagedError, match="a record cannot be read"):
            store.read_after(0)
        store._client.set("tactical:TEST:head", b"no head")
        with pytest.raises(DamagedError, match="the head cannot be read"):
            store.version()
        store._client.delete("tactical:TEST:head")
        assert store.head() == Head()
        store.close()
