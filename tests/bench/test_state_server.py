from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

from rllib_tactical.bench import state_server as module
from rllib_tactical.bench.state_server import (
    required_program,
    server_program,
    server_version,
    state_server,
)
from rllib_tactical.errors import ServiceError
from serve.state.redis_store import RedisStore
from serve.state.store import Entry, StoreError


def test_a_killed_server_comes_back_with_what_it_had() -> None:
    program = server_program()
    if program is None:
        pytest.skip("no Redis or Valkey server")
    assert server_version(program).split()[1][0].isdigit()
    with state_server(program) as server:
        store = RedisStore(f"{server.url}#TEST")
        store.append(0, [Entry("state", b"1")])
        server.kill()
        with pytest.raises(StoreError):
            store.version()
        server.start()
        assert store.version() == 1
        store.close()


def test_a_server_that_does_not_start_is_no_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "START_S", 0.1)
    with pytest.raises(ServiceError, match="does not answer"), state_server("/bin/true"):
        pass
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert server_program() is None
    with pytest.raises(ServiceError, match="no server"):
        required_program()
