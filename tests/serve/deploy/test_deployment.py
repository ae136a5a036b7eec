"""How replicas reach the coordinator's actor; Ray itself is in the tests of the whole service."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from ray.exceptions import ActorDiedError

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.errors import ServiceError
from serve.api.write_requests import OverrideRequest
from serve.deploy import deployment
from serve.deploy.deployment import RayCoordinator
from tests.serve.local import coordinator_settings


class Actor:
    """A handle whose calls answer ``outcome`` or raise it."""

    def __init__(self, outcome: Any) -> None:
        self._outcome = outcome
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    def __getattr__(self, method: str) -> Any:
        return Method(self, method)

    async def answer(self, method: str, arguments: tuple[Any, ...]) -> Any:
        self.calls.append((method, arguments))
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome


class Method:
    """A method of an actor's handle."""

    def __init__(self, actor: Actor, name: str) -> None:
        self._actor, self._name = actor, name

    def remote(self, *arguments: Any) -> Awaitable[Any]:
        return self._actor.answer(self._name, arguments)


Connect = Callable[..., RayCoordinator]


@pytest.fixture
def connect(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Return a port to the given actors; each start of the coordinator gives the next one."""

    def made(*actors: Actor) -> RayCoordinator:
        left = list(actors)
        monkeypatch.setattr(deployment, "coordinator_actor", lambda *arguments: left.pop(0))
        return RayCoordinator(coordinator_settings(bundle, tmp_path), "telemetry")

    return made


def test_calls_reach_the_coordinator_as_they_are(connect: Connect) -> None:
    actor = Actor((200, b"{}"))
    port = connect(actor)

    async def work() -> None:
        assert await port.write(OverrideRequest("pause")) == (200, b"{}")
        assert await port.performance(7) == (200, b"{}")
        await port.poll("replica", 3, 1, None)
        await port.leave("replica")

    asyncio.run(work())
    assert actor.calls == [
        ("write", (OverrideRequest("pause"),)),
        ("performance", (7,)),
        ("poll", ("replica", 3, 1, None)),
        ("leave", ("replica",)),
    ]


def test_a_coordinator_that_died_is_started_again_and_asked_once_more(connect: Connect) -> None:
    dead, alive = Actor(ActorDiedError()), Actor((200, b"{}"))
    port = connect(dead, alive)
    assert asyncio.run(port.performance(1)) == (200, b"{}")
    assert asyncio.run(port.performance(2)) == (200, b"{}")
    assert (len(dead.calls), len(alive.calls)) == (1, 2)


def test_a_coordinator_that_does_not_come_back_is_an_error_of_the_service(connect: Connect) -> None:
    port = connect(Actor(ActorDiedError()), Actor(ActorDiedError()))
    with pytest.raises(ServiceError, match="the coordinator of the state does not run"):
        asyncio.run(port.performance(1))


def test_each_start_of_the_service_has_a_coordinator_of_its_own(
    bundle: Bundle, tmp_path: Path
) -> None:
    names = {
        deployment._coordinator_name(coordinator_settings(bundle, tmp_path, launch=launch))
        for launch in ("first", "second", "first")
    }
    assert names == {"tactical-coordinator-first", "tactical-coordinator-second"}
