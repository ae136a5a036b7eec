"""The state of each symbol as the page shows it: accounts against limits, bars and orders."""

from __future__ import annotations

from pathlib import Path

import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.decision.override import Control
from serve.dashboard.status import status_of
from serve.state.total import TotalLimits
from tests.serve.local import Cluster
from tests.serve.several import bundles_for
from tests.serve.writes import BARS, accepted, bars_body, fill, fills_body, with_service


def test_a_symbol_has_its_bars_its_position_and_what_it_lost(
    bundle: Bundle, tmp_path: Path
) -> None:
    async def work(cluster: Cluster) -> None:
        empty = status_of(cluster.replica(), 0.0).symbols["TEST"]
        assert (empty.bars, empty.ready, empty.last_s, empty.due_s) == (0, False, None, None)
        assert (empty.position, empty.entry_price, empty.drawdown) == (0.0, None, 0.0)
        await accepted(cluster, "/bars", bars_body(0, 400))
        price = float(BARS.close[399])
        await accepted(cluster, "/fills", fills_body(fill(1, "SELL", 100.0, price - 5.0)))
        await accepted(cluster, "/bars", bars_body(400, 401))
        found = status_of(cluster.replica(), float(BARS.timestamp_s[400]))
        only = found.symbols["TEST"]
        assert found.total is None
        assert found.version == cluster.machine().version
        assert (only.bars, only.ready, only.last_s) == (401, True, int(BARS.timestamp_s[400]))
        assert (only.position, only.entry_price) == (-100.0, pytest.approx(price - 5.0))
        assert only.equity < only.session_peak == 100_000.0
        assert only.drawdown == pytest.approx(1.0 - only.equity / only.session_peak)
        assert only.drawdown_limit == bundle.rules.risk.session_drawdown_limit
        assert (only.hold, only.control, only.due_s) == (None, Control.NONE, None)

    with_service(bundle, tmp_path, work, 1)


@pytest.mark.slow
def test_several_symbols_have_a_sum_and_an_order_stops_only_its_own(
    bundle: Bundle, tmp_path: Path
) -> None:
    async def work(cluster: Cluster) -> None:
        order = {"action": "pause", "symbol": "S1"}
        await accepted(cluster, "/admin/override", order)
        found = status_of(cluster.replica(), 0.0)
        assert {symbol: each.control for symbol, each in found.symbols.items()} == {
            "TEST": Control.NONE,
            "S1": Control.PAUSE,
        }
        assert found.total is not None
        assert found.total.equity == sum(each.equity for each in found.symbols.values())
        assert (found.total.drawdown, found.total.drawdown_limit) == (0.0, 0.2)

    bundles = [bundle, *bundles_for(tmp_path, ["S1"])]
    with_service(bundles, tmp_path, work, 1, limits=TotalLimits(drawdown=0.2))
