"""A decision on logits that were computed before equals one that computes them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.config.service import PerformanceConfig
from rllib_tactical.domain.features.table import FeatureTable
from rllib_tactical.domain.types import WINDOW, Float32Array
from serve.decision.bar_logits import BarLogits
from serve.decision.decider import Decider
from tests.serve.decision.deciding import LONG_LOGITS, BrokenEngine, FixedEngine
from tests.serve.decision.test_promotion import exported
from tests.serve.local import Cluster
from tests.serve.writes import BARS, accepted, bar_at, bars_body, with_service

BODY = b'{"symbol": "TEST", "override_params": {"temperature": 0.7}}'


class CountingEngine(FixedEngine):
    calls = 0

    def logits(self, inputs: Float32Array) -> Float32Array:
        self.calls += 1
        return super().logits(inputs)


def test_a_window_is_computed_once_and_found_under_its_own_values(table: FeatureTable) -> None:
    engine = CountingEngine(LONG_LOGITS)
    kept = BarLogits(engine)
    matrix = table.raw[300 - WINDOW : 300]
    assert kept.find(matrix, 100.0, 0.5) is None
    for _ in range(2):
        kept.prepare(matrix.copy(), 100.0, 0.5)
    assert engine.calls == 1
    found = kept.find(matrix, 100.0, 0.5)
    assert found is not None and found.tolist() == [LONG_LOGITS.tolist()]
    assert kept.find(matrix, 100.0, 0.51) is None
    assert kept.find(matrix, 100.01, 0.5) is None
    other = matrix.copy()
    other[0, 5] = np.nextafter(other[0, 5], np.inf)
    assert kept.find(other, 100.0, 0.5) is None
    kept.prepare(other, 100.0, 0.5)
    assert kept.find(matrix, 100.0, 0.5) is None
    assert engine.calls == 2


def test_what_fails_is_not_kept_and_not_tried_again(
    table: FeatureTable, caplog: pytest.LogCaptureFixture
) -> None:
    kept = BarLogits(BrokenEngine())
    for _ in range(3):
        kept.prepare(table.raw[240:300], 100.0, 0.5)
    assert kept.find(table.raw[240:300], 100.0, 0.5) is None
    assert len(caplog.records) == 1


def decided_twice(cluster: Cluster, bundle: Bundle) -> dict[str, Any]:
    """Return the decision on the newest bars, the same by kept and by fresh logits."""
    active = cluster.replica().active("TEST")
    fresh = Decider(bundle, PerformanceConfig()).answer(BODY, active.state, active.hold, now_s=2e5)
    engine, active.decider._of_bars._engine = active.decider._engine, BrokenEngine()
    active.decider._engine = BrokenEngine()  # what is not kept fails
    try:
        kept = active.decider.answer(BODY, active.state, active.hold, now_s=2e5)
    finally:
        active.decider._engine = active.decider._of_bars._engine = engine
    assert kept.answer.source == "policy" and not kept.fallback
    bodies = [msgspec.to_builtins(each.answer) for each in (kept, fresh)]
    for body in bodies:
        del body["timing"]
    assert bodies[0] == bodies[1]
    found: dict[str, Any] = bodies[0]
    return found


@pytest.mark.slow
def test_kept_and_fresh_agree_after_bars_revisions_promotion_and_restart(
    bundle: Bundle, tmp_path: Path
) -> None:
    second = exported(bundle, tmp_path / "second", temperature_scale=2.0)

    async def work(cluster: Cluster) -> None:
        seen = []
        for stop in range(400, 420):
            await accepted(cluster, "/bars", bars_body(0 if stop == 400 else stop - 1, stop))
            cluster.replica().prepare()
            seen.append(decided_twice(cluster, bundle))
        wide = bar_at(BARS, 418, close=float(BARS.high[418]))
        await accepted(cluster, "/bars", {"symbol": "TEST", "bars": [wide], "revise": True})
        cluster.replica().prepare()
        seen.append(decided_twice(cluster, bundle))
        await accepted(cluster, "/admin/model", {"path": str(second.path)})
        cluster.replica().prepare()
        seen.append(decided_twice(cluster, second))
        votes = [tuple(map(str, body["agent_breakdown"].values())) for body in seen]
        assert len(set(votes)) == len(seen)

    async def again(cluster: Cluster) -> None:
        cluster.replica().prepare()
        decided_twice(cluster, second)

    with_service(bundle, tmp_path, work, replicas=1)
    with_service(bundle, tmp_path, again, replicas=1)


def test_every_replica_computes_them_without_being_asked(bundle: Bundle, tmp_path: Path) -> None:
    async def work(cluster: Cluster) -> None:
        await accepted(cluster, "/bars", bars_body(0, 400))
        for number in range(2):
            async with asyncio.timeout(20.0):
                while not prepared(cluster, number):
                    await asyncio.sleep(0.0 if number == 0 else 0.02)

    with_service(bundle, tmp_path, work, replicas=2)


def prepared(cluster: Cluster, number: int) -> bool:
    active = cluster.replica(number).active("TEST")
    market, matrix = active.state.market, active.state.matrix
    assert market is not None and matrix is not None
    return active.decider._of_bars.find(matrix, market.price, market.atr) is not None
