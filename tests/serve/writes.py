"""Bodies that write to the service, and what its replicas answer to them, without Ray."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.features.table import FeatureTable
from rllib_tactical.domain.types import Bars
from tests.serve.conftest import request_at, walk
from tests.serve.local import Cluster, running

BARS = walk(600, seed=7)


def bar_at(bars: Bars, t: int, **changes: Any) -> dict[str, Any]:
    names = ("open", "high", "low", "close", "volume")
    row = {name: float(getattr(bars, name)[t]) for name in names}
    return {"timestamp": int(bars.timestamp_s[t]), **row, **changes}


def bars_body(first: int, stop: int, bars: Bars = BARS) -> dict[str, Any]:
    return {"symbol": "TEST", "bars": [bar_at(bars, t) for t in range(first, stop)]}


def fill(number: int, side: str, quantity: float, price: float, **more: Any) -> dict[str, Any]:
    return {
        "fill_id": f"fill-{number}",
        "side": side,
        "quantity": quantity,
        "price": price,
        "timestamp": 180_000 + number,
        **more,
    }


def fills_body(*fills: dict[str, Any]) -> dict[str, Any]:
    return {"symbol": "TEST", "fills": list(fills)}


def with_service(
    bundle: Bundle | Sequence[Bundle],
    folder: Path,
    work: Callable[[Cluster], Awaitable[None]],
    replicas: int = 3,
    **more: Any,
) -> None:
    async def run() -> None:
        async with running(bundle, folder, replicas, **more) as cluster:
            await work(cluster)

    asyncio.run(run())


async def accepted(cluster: Cluster, path: str, body: Any, replica: int = 0) -> dict[str, Any]:
    response = await cluster.post(path, body, replica)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def refused(cluster: Cluster, path: str, body: Any) -> tuple[int, str, str | None]:
    response = await cluster.post(path, body)
    error = response.json()["error"]
    return response.status_code, error["code"], error["details"].get("field")


async def reasons(cluster: Cluster, table: FeatureTable, t: int = 320) -> list[str]:
    """Return each replica's reason for one window."""
    found = []
    for replica in range(len(cluster.clients)):
        answer = await accepted(cluster, "/decide", request_at(table, t), replica)
        found.append(answer["decision"]["reason"])
    return found


def executing(table: FeatureTable, cluster: Cluster) -> Awaitable[tuple[int, str]]:
    async def find() -> tuple[int, str]:
        for t in range(310, 600):
            answer = await accepted(cluster, "/decide", request_at(table, t))
            if answer["decision"]["execute"]:
                return t, answer["decision"]["execution_command"]["side"]
        raise AssertionError("no window leads to an order")

    return find()
