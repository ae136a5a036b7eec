"""The store on a server; what all stores do is in ``test_store``."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import pytest

from serve.state.redis_store import RedisStore
from serve.state.store import DamagedError, Head, StoreError
from tests.serve.state.pair import server_and_replica
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


@pytest.mark.slow
@pytest.mark.parametrize("is_lost", [True, False], ids=["killed", "demoted"])
def test_a_promoted_replica_is_used_once_the_old_server_has_refused(
    tmp_path: Path, is_lost: bool
) -> None:
    with server_and_replica(tmp_path) as pair:
        store = RedisStore(f"{pair.url}#TEST")
        made = store.append(0, entries(5))
        deadline = time.monotonic() + 20.0
        while not pair.in_step():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        pair.promote(is_lost)
        with suppress(StoreError):  # by the connection to the old server
            store.probe()
        assert store.append(5, entries(1))[0].sequence == 6
        assert store.read_after(0)[:5] == made
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
