"""Servers to compare the service with: an echo on Ray Serve, and the decision on uvicorn alone.

Run as a module, this is the uvicorn server: ``plain_servers BUNDLE PORT``.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import msgspec

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
    """Decide with a bundle on a flat account, without Ray, state, limits or telemetry."""
    import uvicorn

    from rllib_tactical.bundle.bundle import load_bundle
    from rllib_tactical.config.service import PerformanceConfig
    from rllib_tactical.domain.simulation.account import Account
    from serve.decision.decider import Decider
    from serve.decision.risk_state import RiskState

    bundle = load_bundle(bundle_path)
    decider = Decider(bundle, PerformanceConfig())
    decider.warm_up()
    state = RiskState(Account.opened(bundle.rules.risk.initial_equity))
    encode = msgspec.json.Encoder().encode

    async def app(scope: Message, receive: Any, send: Any) -> None:
        await send_all(send, encode(decider.answer(await read_all(receive), state).answer))

    uvicorn.run(app, port=port, log_level="error", lifespan="off", access_log=False)


if __name__ == "__main__":
    run_uvicorn(Path(sys.argv[1]), int(sys.argv[2]))
