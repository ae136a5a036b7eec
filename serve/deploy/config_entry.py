"""The service for Ray Serve's own configuration: ``import_path: serve.application:build``.

``tactical serve`` starts Ray Serve and stays with it; here somebody else has started it, as KubeRay
does from ``deploy/kuberay/rayservice.yaml``, and asks for the application.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from rllib_tactical.bundle.bundle import load_bundle
from rllib_tactical.config.loader import load_config
from rllib_tactical.errors import ServiceError
from serve.deploy.deployment import decision_deployment
from serve.deploy.launcher import state_folder
from serve.deploy.ray_serve import QUIET, REPLICA_CPUS
from serve.http.app import AppSettings
from serve.http.security import TOKEN_VARIABLE, require_strong_token, token_digest
from serve.observability.logs import log_level
from serve.observability.metrics import MULTIPROCESS_VARIABLE
from serve.replication.recovery import CoordinatorSettings
from serve.state.machine import model_record


class Arguments(BaseModel):
    """The entries under ``args`` in the file.

    ``bundle``: the bundle's folder, at the same path on every node. ``state``: folder of the
    states, on the head alone. ``config``: file of settings, there on every node too.
    """

    model_config = ConfigDict(extra="forbid")

    bundle: str
    state: str
    config: str | None = None


def build(args: dict[str, Any]) -> Any:
    """Return the application that ``args`` (see ``Arguments``) describe.

    Its replicas start the coordinator of the state.

    The same bundle is the same start of the service: a head that comes back goes on with the bundle
    that was last chosen by ``POST /admin/model``. The number of replicas is set in the file.

    Raises:
        ValidationError: an argument is missing or unknown.
        UnreadableError: there is no bundle.
        BundleError: the bundle is incomplete, altered or made for another version.
        ServiceError: TACTICAL_TOKEN is not set, or can be guessed: such a service can be reached
            from other machines.
    """
    token = os.environ.get(TOKEN_VARIABLE)
    if not token:
        raise ServiceError(f"{TOKEN_VARIABLE} must be set on every node of the service")
    require_strong_token(token)
    given = Arguments.model_validate(args)
    bundle = load_bundle(Path(given.bundle).resolve())
    settings = load_config(None if given.config is None else Path(given.config))
    own = state_folder(Path(given.state), bundle.instrument.symbol)
    level = log_level()
    # local to a node: metrics and logs of its replicas
    local = f"{tempfile.gettempdir()}/tactical"
    telemetry = f"{local}/telemetry-{bundle.bundle_id[:12]}"
    coordinator = CoordinatorSettings(
        state_folder=str(own),
        model=model_record(bundle, launch=f"file-{bundle.bundle_id}"),
        service=settings.service,
        log_folder=str(own / "logs"),
        log_level=level,
    )
    app = AppSettings(
        performance=settings.performance,
        service=settings.service,
        telemetry_folder=telemetry,
        token_digest=token_digest(token),
        log_folder=f"{local}/logs",
        log_level=level,
    )
    variables = {"OMP_NUM_THREADS": "1", MULTIPROCESS_VARIABLE: telemetry}
    deployment = decision_deployment.options(
        logging_config=QUIET,
        ray_actor_options={"num_cpus": REPLICA_CPUS, "runtime_env": {"env_vars": variables}},
    )
    return deployment.bind(app, coordinator)
