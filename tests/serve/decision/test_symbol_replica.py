"""What one process decides with for each of several symbols."""

from __future__ import annotations

from pathlib import Path

import pytest

from rllib_tactical.config.service import ServiceConfig
from rllib_tactical.errors import ServiceError
from serve.decision.decider import Decider
from serve.decision.symbol_replica import SymbolReplica
from tests.serve.local import Cluster
from tests.serve.several import bars_of, bundles_for, names
from tests.serve.writes import accepted, with_service

pytestmark = pytest.mark.slow


def test_without_a_bundle_there_is_no_decision() -> None:
    def load(path: str, bundle_id: str) -> Decider:
        raise AssertionError("nothing is to be loaded")

    made = SymbolReplica("TEST", load, lambda record: Path(), ServiceConfig())
    with pytest.raises(ServiceError, match="a bundle for TEST must be loaded, found none"):
        made.decider  # noqa: B018


def test_an_order_waits_for_no_other_symbol(tmp_path: Path) -> None:
    """What another symbol's bars change is no reason to decide on an order again."""

    bundles = bundles_for(tmp_path / "bundles", names(2))

    async def work(cluster: Cluster) -> None:
        for symbol in names(2):
            await accepted(cluster, "/bars", bars_of(symbol, 0, 380))
        before = cluster.replica().active("S0").state
        await accepted(cluster, "/bars", bars_of("S1", 380, 381))
        assert cluster.replica().active("S0").state is before
        await accepted(cluster, "/bars", bars_of("S0", 380, 381))
        assert cluster.replica().active("S0").state is not before

    with_service(bundles, tmp_path, work, replicas=1)
