"""The service without Ray: any number of replicas on one event loop and one store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.config.service import PerformanceConfig, ServiceConfig
from serve.decision.replica import StateReplica
from serve.http.app import DecisionApp
from serve.http.settings import AppSettings
from serve.state.machine import StateMachine
from serve.state.opening import StateSettings
from serve.state.records import NO_EXPERIMENT, ExperimentRecord, model_record
from serve.state.store import Store, StoreError
from serve.state.total import NO_LIMITS, TotalLimits

# a lease that does not run out by itself, however busy the machine is
SERVICE = ServiceConfig(
    lease_s=20.0, poll_s=0.1, live_bars=False, max_bar_age_s=1e6, inference_timeout_ms=2e4
)
SHORT_LEASE = replace(SERVICE, lease_s=0.6)


@dataclass
class Cluster:
    """The replicas and their clients."""

    apps: list[DecisionApp]
    clients: list[httpx.AsyncClient]

    def replica(self, number: int = 0) -> StateReplica:
        return self.apps[number]._replica

    def machine(self, number: int = 0) -> StateMachine:
        return self.replica(number).machine

    async def post(self, path: str, body: Any, replica: int = 0) -> httpx.Response:
        return await self.clients[replica].post(path, json=body)

    async def get(self, path: str, replica: int = 0) -> httpx.Response:
        return await self.clients[replica].get(path)


class Lost:
    """Methods that fail as those of a store that cannot be reached."""

    def __init__(self, store: Store, *names: str) -> None:
        self._store, self._names = store, names

    def __enter__(self) -> None:
        def fail(*arguments: Any) -> Any:
            raise StoreError("the disk is full")

        for name in self._names:
            setattr(self._store, name, fail)

    def __exit__(self, *error: object) -> None:
        for name in self._names:
            delattr(self._store, name)


def state_settings(
    bundle: Bundle | Sequence[Bundle],
    folder: Path,
    service: ServiceConfig = SERVICE,
    store: str | None = None,
    limits: TotalLimits = NO_LIMITS,
    experiment: ExperimentRecord = NO_EXPERIMENT,
) -> StateSettings:
    bundles = [bundle] if isinstance(bundle, Bundle) else bundle
    return StateSettings(
        store=store or str(folder),
        folder=str(folder),
        models=tuple(model_record(each, "first", service.live_bars) for each in bundles),
        limits=limits,
        experiment=experiment,
    )


@asynccontextmanager
async def running(
    bundle: Bundle | Sequence[Bundle],
    folder: Path,
    replicas: int = 1,
    service: ServiceConfig = SERVICE,
    store: str | None = None,
    limits: TotalLimits = NO_LIMITS,
    experiment: ExperimentRecord = NO_EXPERIMENT,
    **settings: Any,
) -> AsyncIterator[Cluster]:
    """Run the service; its state is in ``folder`` / state, or in ``store``."""
    values = {
        "performance": PerformanceConfig(),
        "service": service,
        "telemetry_folder": str(folder / "telemetry"),
        **settings,
    }
    state = state_settings(bundle, folder / "state", service, store, limits, experiment)
    apps = [DecisionApp(AppSettings(**values), state) for _ in range(replicas)]
    try:
        for app in apps:
            await app.start()
        clients = [
            httpx.AsyncClient(
                transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1", timeout=30.0
            )
            for app in apps
        ]
        yield Cluster(apps, clients)
    finally:
        for app in apps:
            await app.stop()
