"""The real service for tests: its token, its processes, and what its replicas answer."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import httpx
import psutil

TOKEN = "a-token-of-sufficient-length"
REPLICAS = 2


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
