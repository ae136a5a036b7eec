"""What Ray Serve runs: the replicas of the service."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import Any, Final

import ray
from ray import serve as ray_serve

from rllib_tactical.errors import ServiceError
from serve.deploy.ray_serve import QUIET, REPLICA_CPUS, stop_serve
from serve.deploy.watch import OwnerWatch
from serve.http.app import DecisionApp
from serve.http.listener import Listener
from serve.http.settings import AppSettings
from serve.observability.metrics import MULTIPROCESS_VARIABLE, share_metrics
from serve.state.opening import StateSettings, is_remote

_HEAD_NODE: Final = "node:__internal_head__"


@ray_serve.ingress()
class DecisionReplica:
    """What Serve runs: one ``DecisionApp`` per replica."""

    # Serve awaits it; only in it does the event loop exist on which requests are answered
    async def __init__(  # type: ignore[misc]
        self, settings: AppSettings, state: StateSettings
    ) -> None:
        self._app = DecisionApp(settings, state)
        await self._app.start()
        # what is there now stays: so the garbage collector does not scan it during a request
        gc.collect()
        gc.freeze()

    def __serve_build_asgi_app__(self) -> DecisionApp:
        """Return the application that Serve calls."""
        return self._app

    def check_health(self) -> None:
        """See ``DecisionApp.check_health``; Serve asks every ten seconds."""
        self._app.check_health()


class ListeningReplica:
    """A replica that listens itself, on a port that it shares with the others of its machine.

    It ends with the command that started the service, and with Ray; see ``watch``.
    """

    async def __init__(  # type: ignore[misc]
        self, settings: AppSettings, state: StateSettings, address: tuple[str, int], claim: str
    ) -> None:
        watch = OwnerWatch(Path(claim))
        share_metrics(Path(settings.telemetry_folder))
        self._app = DecisionApp(settings, state)
        await self._app.start()
        self._listener = Listener(self._app, *address)
        gc.collect()
        gc.freeze()
        await self._listener.start()
        self._loop = asyncio.get_running_loop()
        watch.start(self._leave)

    def _leave(self) -> None:
        """Listen no more, answer the requests in flight, and have Serve end, if it is there."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        stop_serve()

    async def _end(self) -> None:
        self._app.end_streams()
        await self._listener.stop()

    def check_health(self) -> None:
        """See ``DecisionApp.check_health``; Serve asks twice a second.

        Raises:
            ServiceError: nothing listens any more, or the state cannot be followed.
        """
        if not self._listener.alive:
            raise ServiceError("nothing listens on the port any more")
        self._app.check_health()

    async def __del__(self) -> None:
        """Answer the requests in flight and close the state; Serve awaits it."""
        await self._end()
        await self._app.stop()


HEALTH_PERIOD_S: Final = 0.5
"""How often Serve looks whether a replica lives; a dead one is replaced at once."""

decision_deployment: Final = ray_serve.deployment(
    name="decision", max_ongoing_requests=1000, graceful_shutdown_timeout_s=10
)(DecisionReplica)


def bound_deployment(
    app: AppSettings, state: StateSettings, variables: dict[str, str], **options: Any
) -> Any:
    """Return the application to run.

    Replicas with their state in a folder run on the head node, where the folder is.

    Args:
        app: limits and folders of the replicas.
        state: where their state is.
        variables: of their environment, besides those that all need.
        options: of the deployment, such as ``num_replicas``.
    """
    environment = {
        **variables,
        "OMP_NUM_THREADS": "1",
        MULTIPROCESS_VARIABLE: app.telemetry_folder,
    }
    actor = {
        "num_cpus": REPLICA_CPUS,
        "resources": {} if is_remote(state.store) else {_HEAD_NODE: 0.001},
        "runtime_env": {"env_vars": environment},
    }
    deployment = decision_deployment.options(
        logging_config=QUIET, ray_actor_options=actor, **options
    )
    return deployment.bind(app, state)


def listening_deployment(
    app: AppSettings, state: StateSettings, address: tuple[str, int], claim: Path, replicas: int
) -> Any:
    """Return the application to run without a proxy, on the node of this process.

    Args:
        app: limits and folders of the replicas.
        state: where their state is.
        address: host and port on which all of them listen.
        claim: file that the command keeps locked as long as it lives.
        replicas: how many there are.
    """
    here = {f"node:{ray.util.get_node_ip_address()}": 0.001}
    deployment = ray_serve.deployment(
        name="decision",
        num_replicas=replicas,
        graceful_shutdown_timeout_s=10,
        health_check_period_s=HEALTH_PERIOD_S,
        logging_config=QUIET,
        # no runtime_env: for one, Ray starts a process that imports Ray before the one that does
        ray_actor_options={"num_cpus": REPLICA_CPUS, "resources": here},
    )(ListeningReplica)
    return deployment.bind(app, state, address, str(claim))
