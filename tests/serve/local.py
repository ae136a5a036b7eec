"""The service without Ray: one coordinator and any number of replicas on one event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.config.service import PerformanceConfig, ServiceConfig
from serve.api.write_requests import WriteRequest
from serve.http.app import AppSettings, DecisionApp
from serve.replication.coordinator import Coordinator
from serve.replication.messages import Reply
from serve.replication.recovery import CoordinatorSettings
from serve.state.leases import Report
from serve.state.machine import model_record

# a lease that does not run out by itself, however busy the machine is
SERVICE = ServiceConfig(
    lease_s=20.0, poll_s=0.1, live_bars=False, max_bar_age_s=1e6, inference_timeout_ms=2e4
)
SHORT_LEASE = replace(SERVICE, lease_s=0.6)


class LocalCoordinator:
    """A port to a coordinator on the same event loop; ``cut`` makes it unreachable."""

    def __init__(self, coordinator: Coordinator) -> None:
        self.coordinator = coordinator
        self.cut = False

    async def poll(self, replica: str, have: int, seen: int, report: Report | None) -> bytes:
        self._reach()
        return await self.coordinator.poll(replica, have, seen, report)

    async def write(self, request: WriteRequest) -> Reply:
        self._reach()
        return await self.coordinator.write(request)

    async def performance(self, days: int) -> Reply:
        self._reach()
        return await self.coordinator.performance(days)

    async def leave(self, replica: str) -> None:
        self._reach()
        await self.coordinator.leave(replica)

    def _reach(self) -> None:
        if self.cut:
            raise ConnectionError("the coordinator cannot be reached")


@dataclass
class Cluster:
    """A coordinator and the clients of its replicas."""

    coordinator: Coordinator
    ports: list[LocalCoordinator]
    apps: list[DecisionApp]
    clients: list[httpx.AsyncClient]

    async def post(self, path: str, body: Any, replica: int = 0) -> httpx.Response:
        return await self.clients[replica].post(path, json=body)

    async def get(self, path: str, replica: int = 0) -> httpx.Response:
        return await self.clients[replica].get(path)


def coordinator_settings(
    bundle: Bundle, folder: Path, service: ServiceConfig = SERVICE, launch: str = "first"
) -> CoordinatorSettings:
    return CoordinatorSettings(
        state_folder=str(folder), model=model_record(bundle, launch), service=service
    )


@asynccontextmanager
async def running(
    bundle: Bundle,
    folder: Path,
    replicas: int = 1,
    service: ServiceConfig = SERVICE,
    launch: str = "first",
    **settings: Any,
) -> AsyncIterator[Cluster]:
    """Run the service; its state is in ``folder`` / state."""
    coordinator = Coordinator(coordinator_settings(bundle, folder / "state", service, launch))
    coordinator._leases.unknown_until = 0.0  # no coordinator before this one has given a lease
    ports = [LocalCoordinator(coordinator) for _ in range(replicas)]
    values = {
        "performance": PerformanceConfig(),
        "service": service,
        "telemetry_folder": str(folder / "telemetry"),
        **settings,
    }
    apps = [DecisionApp(AppSettings(**values), port) for port in ports]
    try:
        for app in apps:
            await app.start()
        clients = [
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1", timeout=30.0
            )
            for app in apps
        ]
        yield Cluster(coordinator, ports, apps, clients)
    finally:
        for app, port in zip(apps, ports, strict=True):
            port.cut = False
            await app.stop()
        coordinator.close()
