"""Servers to compare the service with: the decision on uvicorn and in LitServe, an echo on Serve.

Run as a module: ``plain_servers uvicorn|litserve|echo BUNDLE PORT``.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any

Message = MutableMapping[str, Any]
_HEADERS = [(b"content-type", b"application/json")]


async def read_all(receive: Callable[[], Awaitable[Message]]) -> bytes:
    """Return the body of a request."""
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body", False):
            return body


async def send_all(send: Callable[[Message], Awaitable[None]], body: bytes) -> None:
    """Send a body with status 200."""
    headers = [*_HEADERS, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Echo:
    """An ASGI application that answers each request with its own body."""

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Serve one connection."""
        if scope["type"] == "http":
            await send_all(send, await read_all(receive))
            return
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        await send({"type": "lifespan.shutdown.complete"})


echo_app = Echo()


def run_uvicorn(bundle_path: Path, port: int) -> None:
    """Decide on uvicorn alone, without Ray, state, limits or telemetry."""
    import uvicorn

    from rllib_tactical.bench.decide_alone import decide_alone

    decide = decide_alone(bundle_path)

    async def app(scope: Message, receive: Any, send: Any) -> None:
        body = await read_all(receive)
        await send_all(send, decide(body) if body else b"{}")

    uvicorn.run(app, port=port, log_level="error", lifespan="off", access_log=False)


def run_litserve(bundle_path: Path, port: int) -> None:
    """Decide in LitServe."""
    from rllib_tactical.bench.lit_server import run

    run(bundle_path, port)


def run_echo(bundle_path: Path, port: int) -> None:
    """Answer with the body on Ray Serve."""
    import threading

    from rllib_tactical.bench.stock_serve import start_plain

    with suppress(KeyboardInterrupt), start_plain(echo_app, port):
        threading.Event().wait()


RUN = {"uvicorn": run_uvicorn, "litserve": run_litserve, "echo": run_echo}

if __name__ == "__main__":
    RUN[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))
