"""One service at a time for a state on a server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rllib_tactical.errors import ServiceError
from serve.state import ownership
from serve.state.ownership import StateOwner
from serve.state.redis_store import RedisStore
from tests.serve.state.stores import valkey_server


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with valkey_server(tmp_path) as (url, _):
        yield url


def owner(url: str, symbol: str = "TEST", wait_s: float = 0.3) -> StateOwner:
    return StateOwner(RedisStore(f"{url}#{symbol}"), lambda step: None, wait_s)


def test_a_second_service_on_a_state_is_refused(url: str) -> None:
    first = owner(url)
    with pytest.raises(ServiceError, match=r"another service uses this state .*--state"):
        owner(url)
    owner(url, "OTHER").release()
    first.release()
    owner(url).release()


@pytest.mark.slow
def test_the_state_of_a_running_service_stays_its_own(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownership, "OWNED_S", 0.4)
    monkeypatch.setattr(ownership, "_RENEW_S", 0.05)
    first = owner(url)
    with pytest.raises(ServiceError):
        owner(url, wait_s=1.0)  # longer than a name that is not renewed
    first.release()


def test_the_state_of_a_dead_service_is_free_after_some_seconds(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownership, "OWNED_S", 0.4)
    monkeypatch.setattr(ownership, "_RENEW_S", 60.0)
    dead = owner(url)
    asked: list[str] = []
    second = StateOwner(RedisStore(f"{url}#TEST"), asked.append, 30.0)
    assert asked  # it could have been interrupted while it waited
    dead.release()
    with pytest.raises(ServiceError, match="another service uses"):
        owner(url, wait_s=0.0)  # what is not its own, the dead one does not release
    second.release()


def test_a_state_that_was_taken_meanwhile_is_noticed(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownership, "_RENEW_S", 0.05)
    first = owner(url)
    assert first.problem() is None
    store = RedisStore(f"{url}#TEST")
    store.disown(first._name)
    while store.own("another", 60.0) is not None:
        store.disown(first._name)  # it has been renewed in between
    deadline = time.monotonic() + 10.0
    while first.problem() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert first.problem() == "another service has taken the state: another"
    first.release()
    assert store.own("a third", 60.0) == "another"
    store.close()
