from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.types import Instrument
from serve.api.responses import Accuracy, DailyPnl
from serve.state.performance import agent_accuracy, performance_report, scores_by_bundle
from serve.state.portfolio import Trade
from tests.serve.local import running
from tests.serve.writes import fill, fills_body

DAY = 86_400.0
ALWAYS = Instrument(symbol="TEST", tick_size=0.01, base_quantity=1.0)
SHARES = Instrument(
    symbol="X",
    tick_size=0.01,
    base_quantity=1.0,
    calendar="XNYS",
    timezone="America/New_York",
)


def trade(day: float, pnl: float, side: int = 1, votes: Any = (1, 1, 0)) -> Trade:
    return Trade(side, day * DAY, day * DAY + 60.0, pnl, votes)


def test_figures_by_hand() -> None:
    trades = [
        trade(10, 30.0),
        trade(10, -10.0, votes=(-1, 0, 1)),
        trade(12, 50.0, side=-1, votes=(-1, 1, 0)),
        trade(13, -40.0, votes=None),
    ]
    found = performance_report(trades, ALWAYS, 14 * DAY, 30, 300)
    assert (found.trades, found.trades_with_votes, found.net_pnl) == (4, 3, 30.0)
    assert (found.win_rate, found.profit_factor) == (0.5, 80.0 / 50.0)
    assert (found.average_win, found.average_loss) == (40.0, -25.0)
    assert found.payoff_ratio == 40.0 / 25.0
    # fvg: long won, short against a losing long, short won; momentum: right, hold on -10, wrong
    accuracy = msgspec.structs.astuple(found.accuracy)
    assert accuracy == pytest.approx((1.0, 1 / 3, 2 / 3))
    # the days 10, 11, 12, 13 earned 20, 0, 50, -40
    assert found.trading_days == 4
    std = ((12.5**2 + 7.5**2 + 42.5**2 + 47.5**2) / 3) ** 0.5
    expected = {"mean": 7.5, "std": pytest.approx(std), "best": 50.0, "worst": -40.0}
    assert msgspec.structs.asdict(found.daily_pnl) == expected
    recent = performance_report(trades, ALWAYS, 14 * DAY, 2, 300)
    assert (recent.trades, recent.net_pnl) == (2, 10.0)


def test_every_bundle_has_its_own_figures() -> None:
    first, second = (replace(trade(10, 30.0), bundle_id=name) for name in "ab")
    lost = replace(trade(11, -10.0, votes=(-1, 0, 1)), bundle_id="b")
    unknown = trade(12, 5.0, votes=None)
    found = performance_report([first, second, lost, unknown], ALWAYS, 14 * DAY, 30, 300)
    by_bundle = {each.bundle_id: each for each in found.by_bundle}
    assert list(by_bundle) == ["a", "b", None]
    assert [each.net_pnl for each in found.by_bundle] == [30.0, 20.0, 5.0]
    assert (by_bundle["b"].trades, by_bundle["b"].win_rate) == (2, 0.5)
    assert by_bundle["a"].accuracy == agent_accuracy([first])
    assert by_bundle[None].accuracy == Accuracy(None, None, None)
    scores = scores_by_bundle([first, second, lost, unknown])
    assert scores == {"a": (1, agent_accuracy([first])), "b": (2, agent_accuracy([second, lost]))}


def test_without_trades_nothing_is_made_up() -> None:
    found = performance_report([], ALWAYS, 14 * DAY, 30, 300)
    assert (found.trades, found.net_pnl, found.trading_days) == (0, 0.0, 0)
    for name in ("win_rate", "profit_factor", "average_win", "payoff_ratio"):
        assert getattr(found, name) is None
    assert found.accuracy == Accuracy(None, None, None)
    assert found.daily_pnl == DailyPnl(None, None, None, None)


def test_days_are_sessions_of_the_calendar() -> None:
    friday, monday = 1_767_969_000, 1_768_228_200  # 2026-01-09 and 12, 14:30 UTC
    trades = [Trade(1, t, t + 600.0, 10.0, None) for t in (friday, monday)]
    found = performance_report(trades, SHARES, monday + DAY, 30, 300)
    assert found.trading_days == 2


def test_over_http(bundle: Bundle, tmp_path: Path) -> None:
    votes = {"fvg": "long", "momentum": "down", "entry": "aggressive"}
    metadata = {
        "source": "policy",
        "decision_id": "d",
        "bundle_id": bundle.bundle_id,
        "confidence": 0.7,
        "votes": votes,
        "synergy_aligned": None,
    }

    async def work() -> None:
        async with running(bundle, tmp_path) as cluster:
            entry = fill(1, "BUY", 10.0, 100.0, metadata=metadata, commission=1.0)
            await cluster.post("/fills", fills_body(entry, fill(2, "SELL", 10.0, 103.0)))
            found = (await cluster.get("/performance?days=36500")).json()["error"]
            assert found["details"]["field"] == "days"
            for query in ("?days=0", "?days=x", "?days=1&days=2", "?day=1"):
                assert (await cluster.get(f"/performance{query}")).status_code == 422
            cluster.replica().writer.clock = lambda: 200_000.0
            found = (await cluster.get("/performance")).json()
            assert (found["trades"], found["net_pnl"]) == (1, 29.0)
            assert found["accuracy"] == {"fvg": 1.0, "momentum": 0.0, "entry": 1.0}

    asyncio.run(work())
