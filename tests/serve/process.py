"""A replica in a process of its own, without Ray: real sockets, files and metrics.

The module is the test's side and, with ``python -m``, the process itself.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from rllib_tactical.bundle.bundle import Bundle, load_bundle
from rllib_tactical.config.service import PerformanceConfig, ServiceConfig
from serve.http.app import DecisionApp
from serve.http.listener import Listener
from serve.http.settings import AppSettings
from serve.observability.metrics import MULTIPROCESS_VARIABLE
from tests.serve.local import state_settings

_START_S = 60.0


@contextmanager
def replica_process(
    bundle: Bundle, folder: Path, port: int, **service: Any
) -> Iterator[tuple[httpx.Client, subprocess.Popen[bytes]]]:
    """Run a replica whose state is in ``folder`` / state; yield a client of it, and the process."""
    (folder / "telemetry").mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, str(bundle.path), str(folder), str(port)],
        env={**os.environ, MULTIPROCESS_VARIABLE: str(folder / "telemetry")},
        stdin=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(service).encode() + b"\n")
    process.stdin.close()
    try:
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30.0
        ) as client:
            deadline = time.monotonic() + _START_S
            while not _answers(client):
                assert time.monotonic() < deadline
                assert process.poll() is None
                time.sleep(0.05)
            yield client, process
    finally:
        process.kill()
        process.wait()


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/live").status_code == 200
    except httpx.TransportError:
        return False


async def _run(bundle: Bundle, folder: Path, port: int, service: ServiceConfig) -> None:
    settings = AppSettings(
        performance=PerformanceConfig(),
        service=service,
        telemetry_folder=str(folder / "telemetry"),
    )
    app = DecisionApp(settings, state_settings(bundle, folder / "state", service))
    await app.start()
    await Listener(app, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    given = json.loads(sys.stdin.readline())
    asyncio.run(
        _run(
            load_bundle(Path(sys.argv[1])),
            Path(sys.argv[2]),
            int(sys.argv[3]),
            ServiceConfig(**given),
        )
    )
