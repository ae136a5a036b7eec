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

from rllib_tactical.config.loader import load_config
from rllib_tactical.errors import ServiceError
from serve.bus.status import BUS_VARIABLE, bus_settings
from serve.deploy.deployment import bound_deployment
from serve.deploy.launch import launch_records, load_bundles, total_limits
from serve.http.security import (
    ADMIN_TOKEN_VARIABLE,
    TOKEN_VARIABLE,
    admin_token_digest,
    require_strong_token,
    token_digest,
    token_name,
)
from serve.http.settings import AppSettings
from serve.observability.logs import log_level
from serve.state.opening import StateSettings, is_remote, store_name
from serve.state.places import shared_name


class Arguments(BaseModel):
    """The entries under ``args`` in the file.

    ``bundle``: the bundle's folder, at the same path on every node; or a list of them, each for a
    symbol of its own, whose state is then one for all. ``state``: folder of the
    states, on the head, where the replicas run then; or the URL of a Redis or Valkey server for
    replicas on every node. ``config``: file of settings, there on every node too. ``bus``: URL of
    the server with the bus; ``REDIS_URL`` when left out.
    """

    model_config = ConfigDict(extra="forbid")

    bundle: str | list[str]
    state: str
    config: str | None = None
    bus: str | None = None


def build(args: dict[str, Any]) -> Any:
    """Return the application that ``args`` (see ``Arguments``) describe.

    A head that comes back goes on with the bundle that was last chosen by ``POST /admin/model``,
    until ``args`` name another one than before. The number of replicas is set in the file.

    Raises:
        ValidationError: an argument is missing or unknown.
        UnreadableError: there is no bundle.
        BundleError: the bundle is incomplete, altered or made for another version.
        ServiceError: two bundles are for one symbol; TACTICAL_TOKEN is not set, or can be guessed:
            such a service can be reached from other machines.
    """
    token = os.environ.get(TOKEN_VARIABLE)
    if not token:
        raise ServiceError(f"{TOKEN_VARIABLE} must be set on every node of the service")
    require_strong_token(token)
    given = Arguments.model_validate(args)
    several = isinstance(given.bundle, list)
    paths = given.bundle if isinstance(given.bundle, list) else [given.bundle]
    bundles = load_bundles([Path(path) for path in paths])
    settings = load_config(None if given.config is None else Path(given.config))
    store = store_name(given.state, bundles[0].instrument.symbol)
    if several:
        store = shared_name(given.state)
    level = log_level()
    # local to a node: metrics and logs of its replicas
    local = f"{tempfile.gettempdir()}/tactical"
    models = launch_records(bundles, "file", settings)
    app = AppSettings(
        performance=settings.performance,
        service=settings.service,
        telemetry_folder=f"{local}/telemetry-{bundles[0].bundle_id[:12]}",
        token_digest=token_digest(token),
        admin_digest=admin_token_digest(os.environ.get(ADMIN_TOKEN_VARIABLE), token),
        token_name=token_name(TOKEN_VARIABLE, "token"),
        admin_name=token_name(ADMIN_TOKEN_VARIABLE, "admin"),
        log_folder=f"{local}/logs",
        log_level=level,
        bus=bus_settings(given.bus or os.environ.get(BUS_VARIABLE)),
    )
    folder = f"{local}/state" if is_remote(store) else store
    limits = total_limits(bundles, settings)
    state = StateSettings(store=store, folder=folder, models=models, limits=limits)
    return bound_deployment(app, state, {})
