"""What Ray Serve is asked to run; Ray itself is in the tests of the whole service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.config.service import PerformanceConfig, ServiceConfig
from rllib_tactical.errors import ServiceError
from serve.deploy.deployment import DecisionReplica, bound_deployment
from serve.http.settings import AppSettings
from tests.serve.local import state_settings


def bound(bundle: Bundle, folder: Path, store: str | None = None) -> Any:
    app = AppSettings(
        performance=PerformanceConfig(), service=ServiceConfig(), telemetry_folder="telemetry"
    )
    state = state_settings(bundle, folder, store=store)
    return bound_deployment(app, state, {"FLAG": "1"}, num_replicas=3)._bound_deployment


def test_replicas_get_what_they_need(bundle: Bundle, tmp_path: Path) -> None:
    deployment = bound(bundle, tmp_path)
    assert deployment.num_replicas == 3
    options = deployment.ray_actor_options
    assert options["runtime_env"]["env_vars"] == {
        "FLAG": "1",
        "OMP_NUM_THREADS": "1",
        "PROMETHEUS_MULTIPROC_DIR": "telemetry",
    }
    assert options["resources"] == {"node:__internal_head__": 0.001}  # where the folder is
    remote = bound(bundle, tmp_path, "redis://server:6379/0#TEST")
    assert remote.ray_actor_options["resources"] == {}


def test_a_replica_that_only_a_new_start_can_help_says_so() -> None:
    class Broken:
        def check_health(self) -> None:
            raise ServiceError("the state cannot be followed any more")

    replica: Any = object.__new__(DecisionReplica.__mro__[1])
    replica._app = Broken()
    with pytest.raises(ServiceError, match="cannot be followed"):
        replica.check_health()
