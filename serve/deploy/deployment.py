"""The Ray processes of the service: its replicas, and the actor that owns its state."""

from __future__ import annotations

import gc
from contextlib import suppress
from typing import Any, Final

import ray
from ray import serve as ray_serve
from ray.exceptions import RayActorError, RayError

from rllib_tactical.errors import ServiceError
from serve.api.write_requests import WriteRequest
from serve.http.app import AppSettings, DecisionApp
from serve.observability.metrics import MULTIPROCESS_VARIABLE
from serve.replication.coordinator import Coordinator
from serve.replication.messages import Reply
from serve.replication.recovery import CoordinatorSettings
from serve.state.leases import Report

NAMESPACE: Final = "tactical"
_CLOSE_TIMEOUT_S: Final = 10.0
_HEAD_NODE: Final = "node:__internal_head__"


def coordinator_actor(settings: CoordinatorSettings, telemetry_folder: str) -> Any:
    """Return the coordinator's handle; the first caller starts it.

    Its metrics go to ``telemetry_folder``, like those of the replicas on the same node. It runs on
    the head node, where its folder is. It outlives the process that started it, and Ray restarts it
    when it dies; calls wait for that.
    """
    options: dict[str, Any] = {
        "name": _coordinator_name(settings),
        "namespace": NAMESPACE,
        "lifetime": "detached",
        "get_if_exists": True,
        "max_restarts": -1,
        "max_task_retries": -1,
        "max_concurrency": 1000,
        "num_cpus": 0,
        "resources": {_HEAD_NODE: 0.001},
        "runtime_env": {
            "env_vars": {"OMP_NUM_THREADS": "1", MULTIPROCESS_VARIABLE: telemetry_folder}
        },
    }
    return ray.remote(Coordinator).options(**options).remote(settings)


def stop_coordinator(settings: CoordinatorSettings) -> None:
    """Stop the coordinator if it runs; its folder is free when this returns."""
    try:
        handle = ray.get_actor(_coordinator_name(settings), namespace=NAMESPACE)
    except ValueError:
        return
    with suppress(RayError):  # one that has died already no longer holds its folder
        ray.get(handle.close.remote(), timeout=_CLOSE_TIMEOUT_S)
    ray.kill(handle)


def _coordinator_name(settings: CoordinatorSettings) -> str:
    return f"tactical-coordinator-{settings.model.launch}"


class RayCoordinator:
    """The coordinator as replicas reach it; a coordinator that has ended is started again.

    Every call raises ``ServiceError`` when the coordinator does not answer after that.
    """

    def __init__(self, settings: CoordinatorSettings, telemetry_folder: str) -> None:
        self._settings, self._folder = settings, telemetry_folder
        self._actor = coordinator_actor(settings, telemetry_folder)

    async def poll(self, replica: str, have: int, seen: int, report: Report | None) -> bytes:
        """See ``Coordinator.poll``."""
        reply: bytes = await self._call("poll", replica, have, seen, report)
        return reply

    async def write(self, request: WriteRequest) -> Reply:
        """See ``Coordinator.write``."""
        reply: Reply = await self._call("write", request)
        return reply

    async def performance(self, days: int) -> Reply:
        """See ``Coordinator.performance``."""
        reply: Reply = await self._call("performance", days)
        return reply

    async def leave(self, replica: str) -> None:
        """See ``Coordinator.leave``."""
        await self._call("leave", replica)

    async def _call(self, method: str, *arguments: Any) -> Any:
        try:
            return await getattr(self._actor, method).remote(*arguments)
        except RayActorError:
            self._actor = coordinator_actor(self._settings, self._folder)
        try:
            return await getattr(self._actor, method).remote(*arguments)
        except RayActorError as error:
            raise ServiceError(f"the coordinator of the state does not run: {error}") from error


@ray_serve.ingress()
class DecisionReplica:
    """What Serve runs: one ``DecisionApp`` per replica."""

    # Serve awaits it; only in it does the event loop exist on which requests are answered
    async def __init__(  # type: ignore[misc]
        self, settings: AppSettings, coordinator: CoordinatorSettings
    ) -> None:
        self._app = DecisionApp(settings, RayCoordinator(coordinator, settings.telemetry_folder))
        await self._app.start()
        # what is there now stays: so the garbage collector does not scan it during a request
        gc.collect()
        gc.freeze()

    def __serve_build_asgi_app__(self) -> DecisionApp:
        """Return the application that Serve calls."""
        return self._app


decision_deployment: Final = ray_serve.deployment(
    name="decision", max_ongoing_requests=1000, graceful_shutdown_timeout_s=10
)(DecisionReplica)
