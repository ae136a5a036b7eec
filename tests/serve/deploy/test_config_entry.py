"""The application that Ray Serve's own configuration asks for; nothing of Ray is started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.errors import ConfigError, ServiceError, UnreadableError
from serve.application import build as named_in_the_file
from serve.deploy.config_entry import build
from serve.http.security import ADMIN_TOKEN_VARIABLE, TOKEN_VARIABLE, is_authorised
from serve.http.settings import AppSettings
from serve.state.opening import StateSettings

TOKEN = "a-token-of-sufficient-length"


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)


def built(bundle: Path, state: Path, **more: Any) -> tuple[Any, AppSettings, StateSettings]:
    """Return the deployment and what its replicas are started with."""
    application = build({"bundle": str(bundle), "state": str(state), **more})
    app, shared = application._bound_deployment.init_args
    return application._bound_deployment, app, shared


def test_the_file_names_this_function() -> None:
    assert named_in_the_file is build


def test_the_arguments_become_the_settings_of_replicas(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "service.yaml"
    config.write_text("tactical_marl: {service: {lease_s: 7.5}}")
    monkeypatch.setenv(ADMIN_TOKEN_VARIABLE, "an-admin-token-of-its-own")
    deployment, app, shared = built(bundle.path, tmp_path, config=str(config))
    assert shared.store == shared.folder == str(tmp_path / "TEST")
    (model,) = shared.models
    assert (model.path, model.bundle_id) == (str(bundle.path), bundle.bundle_id)
    assert app.service.lease_s == 7.5
    assert is_authorised(f"Bearer {TOKEN}", app.token_digest)
    assert not is_authorised("Bearer another", app.token_digest)
    assert is_authorised("Bearer an-admin-token-of-its-own", app.admin_digest)
    # Prometheus' client reads its folder from the environment when it is imported
    variables = deployment.ray_actor_options["runtime_env"]["env_vars"]
    assert variables["PROMETHEUS_MULTIPROC_DIR"] == app.telemetry_folder


def test_replicas_are_where_their_state_is(bundle: Bundle, tmp_path: Path) -> None:
    deployment, _, shared = built(bundle.path, tmp_path)
    assert deployment.ray_actor_options["resources"] == {"node:__internal_head__": 0.001}
    application = build({"bundle": str(bundle.path), "state": "redis://server:6379/1"})
    _, shared = application._bound_deployment.init_args
    assert shared.store == "redis://server:6379/1#TEST"
    assert not application._bound_deployment.ray_actor_options["resources"]


@pytest.mark.parametrize("token", [None, ""])
def test_a_service_that_others_can_reach_needs_a_token(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str | None
) -> None:
    if token is None:
        monkeypatch.delenv(TOKEN_VARIABLE)
    else:
        monkeypatch.setenv(TOKEN_VARIABLE, token)
    with pytest.raises(ServiceError, match=f"{TOKEN_VARIABLE} must be set on every node"):
        built(bundle.path, tmp_path)
    monkeypatch.setenv(TOKEN_VARIABLE, "short")
    with pytest.raises(ServiceError, match="at least 16 characters, found 5"):
        built(bundle.path, tmp_path)


def test_what_cannot_be_used_is_refused_before_anything_starts(
    bundle: Bundle, tmp_path: Path
) -> None:
    with pytest.raises(ValidationError, match="replicas"):
        built(bundle.path, tmp_path, replicas=2)
    with pytest.raises(ValidationError, match="state"):
        build({"bundle": str(bundle.path)})
    with pytest.raises(UnreadableError, match="no bundle here"):
        built(tmp_path / "nothing", tmp_path)
    (tmp_path / "bad.yaml").write_text("tactical_marl: {service: {lease: 1}}")
    with pytest.raises(ConfigError, match=r"service\.lease"):
        built(bundle.path, tmp_path, config=str(tmp_path / "bad.yaml"))
