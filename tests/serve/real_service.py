"""The real service for tests: its token, its processes, and what its replicas answer."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.config.service import ServiceConfig
from serve.http.security import TOKEN_VARIABLE

TOKEN = "a-token-of-sufficient-length"
REPLICAS = 2


@contextmanager
def on_a_running_ray(bundle: Bundle, challenger: Bundle, state: Path) -> Iterator[str]:
    """Start the service on a Ray instance that already runs; yield its URL."""
    import ray

    from serve.deploy.launcher import start_service
    from serve.deploy.ray_serve import connect_ray

    assert connect_ray()
    os.environ[TOKEN_VARIABLE] = TOKEN
    try:
        with start_service(
            bundle.path,
            port=0,
            replicas=REPLICAS,
            challengers=[challenger.path],
            config=TacticalConfig(
                # a busy machine keeps its lease
                service=ServiceConfig(
                    live_bars=False,
                    lease_s=6.0,
                    write_timeout_s=60.0,
                    inference_timeout_ms=5_000.0,
                )
            ),
            state=state,
        ) as service:
            assert service.authenticated
            yield service.url
        assert ray.is_initialized()  # not ours to stop
        with socket.socket() as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            free.bind(("127.0.0.1", urlsplit(service.url).port))
    finally:
        del os.environ[TOKEN_VARIABLE]
        ray.shutdown()


def error_of(response: httpx.Response) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/json"
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"code", "message", "details"}
    return error


def ask_all(client: httpx.Client, request: dict[str, Any], times: int = 12) -> list[dict[str, Any]]:
    """Return what the replicas answer, on a new connection each so that all of them are asked."""
    answers = []
    for _ in range(times):
        with httpx.Client(
            base_url=client.base_url, headers=client.headers, trust_env=False, timeout=30.0
        ) as fresh:
            response = fresh.post("/decide", json=request)
            assert response.status_code == 200, response.text
            answers.append(response.json())
            answers[-1].pop("timing")
    return answers


def processes(name: str) -> list[psutil.Process]:
    """Return this session's Ray workers with ``name`` in their title."""
    found = []
    for worker in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            if name in " ".join(worker.cmdline()):
                found.append(worker)
    return found
