"""Until when which replica may decide on which version, on a clock that the test moves."""

from __future__ import annotations

import math

import pytest

from serve.state.leases import Leases, Replica, Report

LEASE_S = 2.0


class Clock:
    """Seconds that only grow when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def leases(clock: Clock) -> Leases:
    made = Leases(LEASE_S, clock)
    made.unknown_until = -math.inf  # as if no coordinator had been before
    return made


def test_the_leases_of_an_earlier_coordinator_may_still_run(clock: Clock) -> None:
    clock.now = 5.0
    assert Leases(LEASE_S, clock).last_use(1) == 7.0


def test_a_replica_that_confirmed_a_version_uses_no_older_one(leases: Leases, clock: Clock) -> None:
    leases.offer(leases.ask("a", -1, None), 3, asked=0.0)
    assert leases.last_use(before=3) == 0.0  # what it held before it asked has run out
    assert leases.last_use(before=4) == 2.0
    clock.now = 1.0
    asking = leases.ask("a", 3, None)  # it has installed version 3
    assert asking.held_until == 2.0
    leases.offer(asking, 4, asked=1.0)
    assert leases.last_use(before=4) == 2.0  # it may not manage to install version 4
    assert leases.last_use(before=5) == 3.0


def test_asking_again_does_not_prolong_what_was_not_installed(leases: Leases, clock: Clock) -> None:
    leases.offer(leases.ask("a", 3, None), 3, asked=0.0)
    for clock.now in (0.5, 1.0, 1.5):
        leases.offer(leases.ask("a", 3, None), 4, asked=clock.now)
        assert leases.last_use(before=4) == 2.0
    clock.now = 2.5
    leases.offer(leases.ask("a", 3, None), 4, asked=2.5)
    assert leases.last_use(before=4) == 2.5  # its old lease is over, and nothing was added


def test_the_slowest_replica_counts(leases: Leases, clock: Clock) -> None:
    leases.offer(leases.ask("a", 3, None), 3, asked=0.0)
    clock.now = 1.0
    leases.offer(leases.ask("b", 3, None), 3, asked=1.0)
    assert leases.last_use(before=4) == 3.0
    leases.end("b")
    assert leases.last_use(before=4) == 2.0
    leases.end("b")  # twice is once


def test_only_running_leases_are_live_and_old_ones_are_forgotten(
    leases: Leases, clock: Clock
) -> None:
    for name in ("a", "b"):
        leases.offer(leases.ask(name, 1, Report(7, None)), 1, asked=0.0)
    assert [replica.report for replica in leases.live()] == [Report(7, None)] * 2
    clock.now = 2.0
    assert leases.live() == []
    assert len(leases._replicas) == 2  # they may come back
    clock.now = 2.0 + 60.1
    assert leases.live() == []
    assert leases._replicas == {}


def test_a_replica_decides_until_the_later_of_its_leases() -> None:
    replica = Replica(confirmed=2, held_until=4.0, offered=3, lease_until=6.0)
    assert replica.until == 6.0
    assert replica.last_use(before=2) == -math.inf
    assert replica.last_use(before=3) == 4.0
    assert replica.last_use(before=4) == 6.0
