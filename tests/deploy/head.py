"""A Ray head of a test's own: `ray start --head`, on loopback, with free ports and a token."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil

from serve.deploy.ray_serve import reserve_port

START_TIMEOUT_S = 90.0
MARK = "TACTICAL_TEST_HEAD"
"""A variable that every process of a head has; its value tells heads apart."""
TOKEN = "0123456789abcdef" * 4
PORTS = ("port", "dashboard-port", "ray-client-server-port", "dashboard-agent-listen-port")


class Head:
    """A head of two CPUs, as a context manager; it ends, with all it started, on leaving.

    Args:
        environment: variables of the head and of everything that runs on it.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        # not a test's folder: the paths of sockets in it are limited to some hundred characters
        self._folder = Path(tempfile.mkdtemp(prefix="tac-", dir="/tmp"))
        ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        self.address = f"http://127.0.0.1:{ports['dashboard-port']}"
        self._options = [f"--{name}={port}" for name, port in ports.items()]
        kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        security = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
        self.environment = {**kept, "PATH": path, "RAY_USAGE_STATS_ENABLED": "0", **security}
        self.environment |= {"RAY_API_SERVER_ADDRESS": self.address}
        self._own = {**self.environment, **environment, MARK: str(self._folder)}

    def __enter__(self) -> Head:
        self._log = (self._folder / "head.log").open("w+")
        self._process = subprocess.Popen(
            [
                *("ray", "start", "--head", "--block", "--dashboard-host=127.0.0.1"),
                *("--node-ip-address=127.0.0.1", "--num-cpus=2", f"--temp-dir={self._folder}/ray"),
                # workers' ports are the system's choice: other clusters of this machine use the
                # same range by default and know nothing of each other
                *("--min-worker-port=0", "--max-worker-port=0"),
                *("--object-store-memory=200000000", *self._options),
            ],
            env=self._own,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._log.seek(0)
                said = self._log.read()
                self.__exit__()
                raise RuntimeError(f"the head did not start:\n{said}")
            time.sleep(0.2)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()  # it stops what it started
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)
        # What waits for something (detached actors) or has left its parents (HAProxy).
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get(MARK) == str(self._folder):
                    process.kill()
        self._process.wait()
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def get(self, path: str) -> httpx.Response:
        """Ask the dashboard."""
        return self._ask("GET", path)

    def put(self, path: str, body: Any) -> None:
        """Send the dashboard a JSON body, which has to be welcome."""
        answer = self._ask("PUT", path, json=body)
        assert answer.is_success, answer.text

    def delete(self, path: str) -> None:
        """Have the dashboard remove something."""
        answer = self._ask("DELETE", path)
        assert answer.is_success, answer.text

    def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        with httpx.Client(headers=headers, timeout=60.0, trust_env=False) as client:
            return client.request(method, self.address + path, **options)

    def _answers(self) -> bool:
        with suppress(httpx.HTTPError):
            return self.get("/api/jobs/").status_code == httpx.codes.OK
        return False


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on, all different, and none that Ray takes by itself."""
    found: set[int] = set()
    while len(found) < count:
        found.add(reserve_port("127.0.0.1", 0))
    return list(found)
