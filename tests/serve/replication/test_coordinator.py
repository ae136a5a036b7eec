"""The coordinator itself: leases, its clock, and what it reads when it comes back."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from rllib_tactical.bundle.bundle import Bundle
from serve.api.write_requests import FillsRequest, OverrideRequest, read_body
from serve.replication.coordinator import Coordinator
from tests.serve.local import SERVICE, coordinator_settings
from tests.serve.writes import fill, fills_body


def test_a_halt_without_bars_ends_with_the_session(bundle: Bundle, tmp_path: Path) -> None:
    now = [180_000.0]
    settings = coordinator_settings(bundle, tmp_path / "state")
    coordinator = Coordinator(settings, clock=lambda: now[0])
    coordinator._leases.unknown_until = 0.0

    async def work() -> None:
        body = fills_body(fill(1, "BUY", 5_000.0, 100.0), fill(2, "SELL", 5_000.0, 99.0))
        request = read_body(json.dumps(body).encode(), FillsRequest)
        assert (await coordinator.write(request))[0] == 200
        assert coordinator._machine.snapshot().account.halted
        await coordinator.poll("replica", -1, 0, None)
        assert coordinator._machine.snapshot().account.halted
        now[0] = 3 * 86_400.0 + 1
        await coordinator.poll("replica", -1, 0, None)
        assert not coordinator._machine.snapshot().account.halted

    asyncio.run(work())
    coordinator.close()


def test_a_coordinator_that_comes_back_waits_for_leases_it_does_not_know(
    bundle: Bundle, tmp_path: Path
) -> None:
    now = [0.0]
    coordinator = Coordinator(
        coordinator_settings(bundle, tmp_path / "state"), monotonic=lambda: now[0]
    )

    async def work() -> None:
        write = asyncio.create_task(coordinator.write(OverrideRequest("pause")))
        await asyncio.sleep(0.05)
        assert not write.done()
        now[0] = SERVICE.lease_s
        coordinator._wake()
        assert (await write)[0] == 200

    asyncio.run(work())
    coordinator.close()


def test_a_replica_that_cannot_take_the_state_over_holds_writes_up_for_one_lease(
    bundle: Bundle, tmp_path: Path
) -> None:
    """It asks again and again, but what it decides on gets no longer life by that."""
    now = [0.0]
    coordinator = Coordinator(
        coordinator_settings(bundle, tmp_path / "state"), monotonic=lambda: now[0]
    )
    coordinator._leases.unknown_until = 0.0
    lease_s = SERVICE.lease_s

    async def answered(write: asyncio.Task[Any]) -> bool:
        coordinator._wake()
        await asyncio.sleep(0.01)
        return write.done()

    async def work() -> None:
        await coordinator.poll("replica", -1, 0, None)  # offered version 1, taken over at once
        now[0] = 1.0
        poll = asyncio.create_task(coordinator.poll("replica", 1, 0, None))
        await asyncio.sleep(0.01)
        write = asyncio.create_task(coordinator.write(OverrideRequest("pause")))
        await poll  # offered version 2, but it does not manage to take it over
        for now[0] in (2.0, lease_s / 2, lease_s - 1.0):
            await coordinator.poll("replica", 1, 0, None)
            assert not await answered(write)
        now[0] = lease_s
        assert await answered(write)
        # now it does: it may use version 2 for a lease from when it asked, and the next write waits
        second = asyncio.create_task(coordinator.write(OverrideRequest("resume")))
        now[0] = 2 * lease_s - 1.5
        assert not await answered(second)
        now[0] = 2 * lease_s - 1.0
        assert await answered(second)

    asyncio.run(work())
    coordinator.close()


def test_a_coordinator_that_comes_back_knows_a_replica_from_its_first_poll_on(
    bundle: Bundle, tmp_path: Path
) -> None:
    """Also when a write comes while that poll waits: what it is offered then is its lease."""
    now = [100.0]
    coordinator = Coordinator(
        coordinator_settings(bundle, tmp_path / "state"), monotonic=lambda: now[0]
    )
    coordinator._leases.unknown_until = 0.0

    async def work() -> None:
        have = coordinator._machine.version
        poll = asyncio.create_task(coordinator.poll("replica", have, 0, None))
        await asyncio.sleep(0.01)
        assert (await coordinator.write(OverrideRequest("pause")))[
            0
        ] == 200  # nobody has a lease yet
        await poll  # offered the new version
        second = asyncio.create_task(coordinator.write(OverrideRequest("resume")))
        await asyncio.sleep(0.05)
        assert not second.done()
        await coordinator.poll("replica", have + 1, 0, None)
        await coordinator.poll("replica", have + 2, 0, None)
        assert (await second)[0] == 200

    asyncio.run(work())
    coordinator.close()
