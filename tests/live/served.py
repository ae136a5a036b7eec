"""A service in a process of its own, without Ray: real HTTP, real store, ends with the test."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rllib_tactical.bundle.bundle import load_bundle
from serve.client import DecisionClient
from serve.client.calls import Retries
from tests.serve.local import SERVICE, running

READY_S = 120.0


@contextmanager
def served(bundle: Path, folder: Path) -> Iterator[str]:
    """Yield the URL of a service on a replay; its state is in ``folder`` and outlasts it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tests.live.served", str(bundle), str(folder), str(port)]
    with subprocess.Popen(command) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            _wait_for(url, process)
            yield url
        finally:
            process.terminate()


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    retries = Retries(count=int(READY_S / 0.3), longest_pause_s=0.3)
    began = time.monotonic()
    with DecisionClient(url, retries=retries) as client:
        client.model()
    assert process.poll() is None, f"the service ended after {time.monotonic() - began:.1f} s"


async def _serve(bundle: str, folder: str, port: str) -> None:
    import uvicorn

    async with running(load_bundle(Path(bundle)), Path(folder), service=SERVICE) as cluster:
        settings = uvicorn.Config(
            cluster.apps[0], port=int(port), log_level="error", lifespan="off", ws="none"
        )
        await uvicorn.Server(settings).serve()


if __name__ == "__main__":
    asyncio.run(_serve(*sys.argv[1:]))
