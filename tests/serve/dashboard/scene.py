"""A service with a market, decisions and fills, as the page is to show it.

The module is the tests' side and, with ``python -m``, a program that serves the page.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.types import Bars
from serve.http.listener import Listener
from serve.http.security import token_digest
from tests.serve.conftest import walk
from tests.serve.local import Cluster, running
from tests.serve.writes import bar_at

READS, ORDERS = "r" * 16, "o" * 16
TOKENS = {"token_digest": token_digest(READS), "admin_digest": token_digest(ORDERS)}
START_S = 1_772_409_600
"""Monday, 2 March 2026, midnight UTC."""


def dated(bars: Bars, start_s: int = START_S) -> Bars:
    """Return bars from a date on, with prices on the tick of 0.01."""
    return Bars(
        timestamp_s=bars.timestamp_s - bars.timestamp_s[0] + start_s,
        open=np.round(bars.open, 2),
        high=np.round(bars.high, 2),
        low=np.round(bars.low, 2),
        close=np.round(bars.close, 2),
        volume=bars.volume,
    )


@dataclass
class Market:
    """Feeds one symbol's bars to a service, decides after each, and fills orders and levels."""

    client: httpx.Client
    symbol: str = "TEST"
    bars: Bars = field(default_factory=lambda: dated(walk(1_600, seed=7)))
    count: int = 0
    fills: int = 0
    open_order: dict[str, Any] | None = None

    def post(self, path: str, body: Any, token: str = READS) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {token}"}
        answer = self.client.post(path, json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def feed(self, count: int) -> None:
        """Send the next bars without deciding."""
        stop = self.count + count
        rows = [bar_at(self.bars, t) for t in range(self.count, stop)]
        for start in range(0, len(rows), 1_000):
            self.post("/bars", {"symbol": self.symbol, "bars": rows[start : start + 1_000]})
        self.count = stop

    def step(self) -> dict[str, Any]:
        """Send the next bar, decide, and fill the order if there is one."""
        self.feed(1)
        self._reach_levels()
        answer = self.post("/decide", {"symbol": self.symbol})
        order = answer["decision"]["execution_command"]
        if order is not None:
            self._fill(order["side"], order["quantity"], None, metadata=order["metadata"])
            self.open_order = None if order["stop_loss"] is None else order
        return answer

    def _reach_levels(self) -> None:
        """Fill the stop or the target of the open order where the last bar reached it."""
        order, t = self.open_order, self.count - 1
        if order is None:
            return
        low, high = self.bars.low[t], self.bars.high[t]
        for level in (order["stop_loss"], order["take_profit"]):
            if low <= level <= high:
                side = "SELL" if order["side"] == "BUY" else "BUY"
                self._fill(side, order["quantity"], level)
                self.open_order = None
                return

    def _fill(self, side: str, quantity: float, price: float | None, **more: Any) -> None:
        self.fills += 1
        last = self.count - 1
        fill = {
            "fill_id": f"{self.symbol}-{self.fills}",
            "side": side,
            "quantity": quantity,
            "price": float(self.bars.close[last]) if price is None else price,
            "timestamp": int(self.bars.timestamp_s[last]) + 300,
            **more,
        }
        self.post("/fills", {"symbol": self.symbol, "fills": [fill]})

    def order(self, action: str, **more: Any) -> dict[str, Any]:
        """Give an operator's order."""
        return self.post("/admin/override", {"action": action, **more}, ORDERS)


@dataclass
class Scene:
    """A served service: its address, its replica's objects, and a client."""

    url: str
    cluster: Cluster
    client: httpx.Client
    loop: asyncio.AbstractEventLoop

    def run(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Run something on the service's event loop and return what it returns."""
        return asyncio.run_coroutine_threadsafe(_awaited(work), self.loop).result(30.0)


async def _awaited(work: Callable[[], Awaitable[Any]]) -> Any:
    return await work()


def free_port() -> int:
    """Return a port of this machine on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def served(
    bundle: Bundle | Sequence[Bundle], folder: Path, port: int = 0, **settings: Any
) -> Iterator[Scene]:
    """Serve the page behind a real socket, with tokens unless ``settings`` have others."""
    values = {**TOKENS, "admin_name": "the desk", **settings}
    started, ended = threading.Event(), asyncio.Event()
    scenes: list[Scene] = []
    port = port or free_port()

    async def serve() -> None:
        async with running(bundle, folder, **values) as cluster:
            app = cluster.apps[0]
            listener = Listener(app, "127.0.0.1", port)
            await listener.start()
            url = f"http://127.0.0.1:{port}"
            client = httpx.Client(base_url=url, trust_env=False, timeout=60.0)
            scenes.append(Scene(url, cluster, client, asyncio.get_running_loop()))
            started.set()
            await ended.wait()
            app.end_streams()
            await listener.stop()
            client.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert started.wait(60.0)
    try:
        yield scenes[0]
    finally:
        scenes[0].loop.call_soon_threadsafe(ended.set)
        thread.join()
