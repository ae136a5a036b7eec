"""The files for `ray up`: Ray's own schema, and that they fit this checkout and each other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import ValidationError
from ray.autoscaler._private.util import prepare_config, validate_config

FILES = ("cluster.yaml", "deploy/aws.yaml", "deploy/gcp.yaml")
CLOUD = FILES[1:]
SHARED = ("file_mounts", "rsync_exclude", "setup_commands", "worker_start_ray_commands")
NODE_PORTS = re.compile(r"--(?!min|max|dashboard-port)([a-z-]*port)=(\d+)")


def read(root: Path, name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((root / name).read_text(encoding="utf-8"))
    return loaded


@pytest.mark.parametrize("name", FILES)
def test_ray_accepts_it(project_root: Path, name: str) -> None:
    validate_config(prepare_config(read(project_root, name)))


@pytest.mark.parametrize("name", FILES)
def test_a_misspelt_key_is_noticed(project_root: Path, name: str) -> None:
    config = read(project_root, name)
    config["setup_command"] = config.pop("setup_commands")
    with pytest.raises(ValidationError, match="setup_command"):
        validate_config(prepare_config(config))


@pytest.mark.parametrize("name", FILES)
def test_what_is_mounted_is_there_and_enough_to_install(project_root: Path, name: str) -> None:
    mounts = read(project_root, name)["file_mounts"]
    inside = {
        remote.removeprefix("~/rllib-tactical/"): local
        for remote, local in mounts.items()
        if remote.startswith("~/rllib-tactical/")
    }
    assert all(remote == local for remote, local in inside.items())
    assert [local for local in inside.values() if not (project_root / local).exists()] == []
    packages = {
        path.parent.name
        for path in project_root.glob("*/__init__.py")
        if path.parent.name != "tests"
    }
    files = {"pyproject.toml", "constraints.txt", "README.md"}
    assert packages | {"deploy", "tune_configs"} | files <= set(inside)
    # token mode is switched on by the installation, so the token has to come along
    assert mounts["~/.ray/auth_token"] == "~/.ray/auth_token"


@pytest.mark.parametrize("name", CLOUD)
def test_clouds_do_on_a_node_what_hosts_do(project_root: Path, name: str) -> None:
    hosts, cloud = read(project_root, "cluster.yaml"), read(project_root, name)
    assert {key: cloud[key] for key in SHARED} == {key: hosts[key] for key in SHARED}
    version_1 = "RAY_enable_autoscaler_v2=0 "
    assert version_1 in hosts["head_start_ray_commands"][1]
    assert cloud["head_start_ray_commands"] == [
        command.replace(version_1, "") for command in hosts["head_start_ray_commands"]
    ]


def test_every_port_between_nodes_is_fixed_and_none_is_used_twice(project_root: Path) -> None:
    config = read(project_root, "cluster.yaml")
    found = {}
    for kind in ("head", "worker"):
        command = config[f"{kind}_start_ray_commands"][1]
        ports = {option: int(port) for option, port in NODE_PORTS.findall(command)}
        assert len(set(ports.values())) == len(ports)
        assert set(ports.values()) <= set(range(6379, 6386))
        assert "--min-worker-port=10002 --max-worker-port=10999" in command
        assert "--object-store-memory=" in command
        found[kind] = ports
    assert found["head"].pop("port") == 6379
    assert found["head"] == found["worker"]
    assert set(found["worker"]) == {
        "node-manager-port",
        "object-manager-port",
        "dashboard-agent-grpc-port",
        "dashboard-agent-listen-port",
        "runtime-env-agent-port",
        "metrics-export-port",
    }


def test_nobody_but_the_head_reaches_the_dashboard(project_root: Path) -> None:
    for name in FILES:
        (start,) = (c for c in read(project_root, name)["head_start_ray_commands"] if "--head" in c)
        assert "--dashboard-host=127.0.0.1" in start
