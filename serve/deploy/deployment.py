"""What Ray Serve runs: the replicas of the service."""

from __future__ import annotations

import gc
from typing import Any, Final

from ray import serve as ray_serve

from serve.deploy.ray_serve import QUIET, REPLICA_CPUS
from serve.http.app import AppSettings, DecisionApp
from serve.observability.metrics import MULTIPROCESS_VARIABLE
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
    resources = {} if is_remote(state.store) else {_HEAD_NODE: 0.001}
    environment = {
        **variables,
        "OMP_NUM_THREADS": "1",
        MULTIPROCESS_VARIABLE: app.telemetry_folder,
    }
    deployment = decision_deployment.options(
        logging_config=QUIET,
        ray_actor_options={
            "num_cpus": REPLICA_CPUS,
            "resources": resources,
            "runtime_env": {"env_vars": environment},
        },
        **options,
    )
    return deployment.bind(app, state)
