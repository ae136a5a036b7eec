"""A service with ten symbols answers for each as a service with that symbol alone does."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.serve.local import Cluster, running
from tests.serve.several import bars_of, bundles_for, fill_of, market_of, names
from tests.serve.writes import accepted

SYMBOLS = names(10)
COUNTS = ("timing", "version")
"""What differs: how long it took, and how many records the state has."""


async def told(cluster: Cluster, symbol: str) -> list[dict[str, Any]]:
    """Send a symbol's bars and fills, and return all that is answered meanwhile."""
    found = [await accepted(cluster, "/bars", bars_of(symbol, 0, 380))]
    price = float(market_of(symbol, 380).close[-1])
    if int(symbol[1:]) % 3 == 1:  # the others are flat, so that they may enter
        lots = 10.0 + int(symbol[1:])
        found.append(await accepted(cluster, "/fills", fill_of(symbol, 1, "BUY", lots, price)))
    for t in range(380, 400):
        found.append(await accepted(cluster, "/bars", bars_of(symbol, t, t + 1)))
        found.append(await accepted(cluster, "/decide", {"symbol": symbol}))
        sampled = {"override_params": {"mode": "sample"}}
        found.append(await accepted(cluster, "/decide", {"symbol": symbol, **sampled}))
    account = {
        "symbol": symbol,
        "request_id": f"deposit-{symbol}",
        "by": "a test",
        "note": "a deposit",
        "cash": [{"kind": "transfer", "amount": 50.0}],
    }
    found.append(await accepted(cluster, "/account", account))
    for path in (f"/performance?days=3650&symbol={symbol}", f"/model?symbol={symbol}"):
        found.append((await cluster.get(path)).json())
    return [{key: each[key] for key in each if key not in COUNTS} for each in found]


@pytest.mark.slow
def test_each_of_ten_symbols_is_answered_as_by_a_service_of_its_own(tmp_path: Path) -> None:
    bundles = bundles_for(tmp_path / "bundles", SYMBOLS)

    async def run() -> None:
        together: dict[str, list[dict[str, Any]]] = {}
        async with running(bundles, tmp_path / "together") as cluster:
            # side by side, so that the symbols' writes and decisions mix
            answers = await asyncio.gather(*(told(cluster, symbol) for symbol in SYMBOLS))
            together = dict(zip(SYMBOLS, answers, strict=True))
        orders = 0
        for bundle in bundles:
            symbol = bundle.instrument.symbol
            async with running(bundle, tmp_path / symbol) as cluster:
                assert together[symbol] == await told(cluster, symbol)
            decisions = [each["decision"] for each in together[symbol] if "decision" in each]
            orders += sum(decision["execute"] for decision in decisions)
        assert orders > 20

    asyncio.run(run())
