"""A real Prometheus with the shipped configuration and rules, on ports of a test's own."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from serve.deploy.ray_serve import reserve_port

START_TIMEOUT_S = 60.0
CONFIGURATION = "deploy/prometheus/prometheus.yaml"
RULES = "deploy/prometheus/rules.yaml"

Name = tuple[str, str]
"""Of an alert, and its severity."""


def program(name: str, package: str) -> str:
    """Return where a program is; skip the test where it is not."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"needs {name} (Debian: {package})")
    return found


def shipped(root: Path, name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((root / name).read_text(encoding="utf-8"))
    return loaded


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


@dataclass
class Prometheus:
    """The program as a context manager.

    Args:
        root: of the checkout.
        folder: an empty folder.
        targets: by job, the addresses in place of the shipped ones.
        speed: how much faster than shipped it scrapes, evaluates, and takes alerts for lasting.
        alertmanager: address in place of the shipped one.
    """

    root: Path
    folder: Path
    targets: Mapping[str, list[str]]
    speed: float = 1.0
    alertmanager: str = "127.0.0.1:9"
    port: int = field(default_factory=lambda: reserve_port("127.0.0.1", 0))

    def __enter__(self) -> Prometheus:
        command = program("prometheus", "prometheus")
        self.folder.mkdir(exist_ok=True)
        self._write()
        self._log = (self.folder / "log").open("w+")
        self._process = subprocess.Popen(
            [
                command,
                f"--config.file={self.folder / 'prometheus.yaml'}",
                f"--storage.tsdb.path={self.folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self._client = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}/api/v1", trust_env=False, timeout=30.0
        )
        try:
            wait_for(self._ready, START_TIMEOUT_S)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._client.close()
        self._log.close()

    def _write(self) -> None:
        """Write the shipped files, for these targets and at this speed."""
        config, rules = shipped(self.root, CONFIGURATION), shipped(self.root, RULES)
        for name in ("scrape_interval", "evaluation_interval"):
            interval_s = max(1.0, seconds(config["global"][name]) / self.speed)
            config["global"][name] = f"{interval_s:.0f}s"
        jobs = {job["job_name"]: job for job in config["scrape_configs"]}
        assert set(jobs) == set(self.targets)
        for name, addresses in self.targets.items():
            jobs[name]["static_configs"] = [{"targets": addresses}]
        (manager,) = config["alerting"]["alertmanagers"]
        manager["static_configs"] = [{"targets": [self.alertmanager]}]
        for group in rules["groups"]:
            for rule in group["rules"]:
                rule["for"] = f"{seconds(rule['for']) / self.speed:.0f}s"
        for name, content in (("prometheus.yaml", config), ("rules.yaml", rules)):
            (self.folder / name).write_text(yaml.safe_dump(content), encoding="utf-8")

    def _ready(self) -> bool:
        if self._process.poll() is not None:
            self._log.seek(0)
            raise RuntimeError(f"Prometheus did not start:\n{self._log.read()}")
        with suppress(httpx.TransportError):
            return self._client.get("/status/buildinfo").status_code == httpx.codes.OK
        return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the samples of an instant query."""
        answer = self._client.get("/query", params={"query": expression}).json()
        assert answer["status"] == "success", (expression, answer)
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def health(self) -> dict[str, str]:
        """Return the state of each target by its address: up, down or unknown."""
        answer = self._client.get("/targets").json()["data"]["activeTargets"]
        return {each["labels"]["instance"]: each["health"] for each in answer}

    def rules(self) -> list[dict[str, Any]]:
        """Return the rules as Prometheus has them, with the error of their last evaluation."""
        (group,) = self._client.get("/rules").json()["data"]["groups"]
        found: list[dict[str, Any]] = group["rules"]
        return found

    def firing(self) -> set[Name]:
        """Return the alerts that fire."""
        return {
            (each["labels"]["alertname"], each["labels"]["severity"])
            for each in self._client.get("/alerts").json()["data"]["alerts"]
            if each["state"] == "firing"
        }


def wait_for(
    condition: Callable[[], bool],
    timeout_s: float,
    what: Callable[[], str] = lambda: "it did not come",
) -> float:
    """Return after how many seconds a condition held."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < timeout_s, what()
        time.sleep(0.1)
    return time.monotonic() - begun
