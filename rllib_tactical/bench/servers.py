"""Servers to compare the service with, each in a process of its own; see ``plain_servers``."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import httpx

from rllib_tactical.errors import ServiceError

HOST: Final = "127.0.0.1"
START_S: Final = 120.0
STOP_S: Final = 30.0
NOTES: Final = {
    "uvicorn": "the same decision by matrix on uvicorn alone, without state, limits, log, journal",
    "litserve": "the same in LitServe, one worker, without state, limits, log, journal",
    "echo": "Ray Serve behind HAProxy, in throughput mode, answers with the body",
}
"""Servers of ``plain_servers`` by name, and what each does."""


def missing(kind: str) -> str | None:
    """Return why a server cannot be measured, None when it can."""
    if kind == "litserve" and importlib.util.find_spec("litserve") is None:
        return "not installed: pip install 'rllib-tactical[bench]'"
    return None


@contextmanager
def plain_server(kind: str, bundle: Path) -> Iterator[str]:
    """Run a server of ``NOTES`` and yield its address once it answers.

    Raises:
        ServiceError: it did not start.
    """
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "rllib_tactical.bench.plain_servers", kind, str(bundle)]
    command.append(str(port))
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command,
            env={**os.environ, "OMP_NUM_THREADS": "1", "RAY_ADDRESS": "local"},
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the caller: it stops the server when it is done
        )
        try:
            if not _answers(port, process):
                said.seek(0)
                last = (said.read().decode(errors="replace").strip().splitlines() or ["?"])[-1]
                raise ServiceError(f"{kind} did not start: {last}")
            yield f"http://{HOST}:{port}"
        finally:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _answers(port: int, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + START_S
    with httpx.Client(base_url=f"http://{HOST}:{port}", trust_env=False, timeout=5.0) as client:
        while time.monotonic() < deadline and process.poll() is None:
            with suppress(httpx.HTTPError):
                # LitServe has this path; the others answer on each
                if client.get("/health").status_code == httpx.codes.OK:
                    return True
            time.sleep(0.05)
    return False


@contextmanager
def burning_a_core() -> Iterator[None]:
    """Keep one core busy by a process of the same priority."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)
    try:
        yield
    finally:
        process.kill()
        process.wait()
