"""Several symbols in one service: orders, limits over the sum, restarts, what is not served."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from rllib_tactical.bundle.bundle import Bundle
from serve.journal.reading import find_journal, read_decisions
from serve.journal.replay import replay
from serve.state.total import TotalLimits
from tests.serve.decision.test_replica import until
from tests.serve.local import SHORT_LEASE, Cluster, Lost
from tests.serve.several import bars_of, bundles_for, fill_of, level_bars, names
from tests.serve.writes import accepted, refused, with_service

pytestmark = pytest.mark.slow

SYMBOLS = names(3)
DAY = 86_400
LIMITS = TotalLimits(drawdown=0.02)

Work = Callable[[Cluster], Awaitable[None]]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Bundle]:
    return bundles_for(tmp_path_factory.mktemp("several"), SYMBOLS)


async def decided(cluster: Cluster, replica: int = 0) -> dict[str, str]:
    """Return the reason of each symbol's decision."""
    found = {}
    for symbol in SYMBOLS:
        answer = await accepted(cluster, "/decide", {"symbol": symbol}, replica)
        found[symbol] = answer["decision"]["reason"]
    return found


async def filled(cluster: Cluster) -> None:
    for symbol in SYMBOLS:
        await accepted(cluster, "/bars", bars_of(symbol, 0, 380))


def test_a_pause_of_one_does_not_pause_the_others(bundles: list[Bundle], tmp_path: Path) -> None:
    async def work(cluster: Cluster) -> None:
        await filled(cluster)
        free = await decided(cluster)
        order = {"action": "pause", "symbol": "S1", "request_id": "a", "by": "me"}
        for repeated in (False, True):
            answer = await accepted(cluster, "/admin/override", order)
            assert (answer["override"], answer["repeated"]) == ("pause", repeated)
            assert answer["overrides"] == {"S0": "none", "S1": "pause", "S2": "none"}
        for replica in (0, 1):
            assert await decided(cluster, replica) == free | {"S1": "paused"}
        everything = {"action": "force_hold", "request_id": "b"}
        answer = await accepted(cluster, "/admin/override", everything)
        assert answer["overrides"] == dict.fromkeys(SYMBOLS, "force_hold")
        assert set((await decided(cluster, 1)).values()) == {"forced_hold"}
        assert await refused(cluster, "/admin/override", order) == (
            409,
            "no_longer_in_force",
            "request_id",
        )
        await accepted(cluster, "/admin/override", {"action": "resume", "symbol": "S2"})
        assert await decided(cluster, 1) == {
            "S0": "forced_hold",
            "S1": "forced_hold",
            "S2": free["S2"],
        }
        other = {"action": "force_hold", "symbol": "S2", "request_id": "b"}
        assert (await refused(cluster, "/admin/override", other))[:2] == (409, "conflict")

    with_service(bundles, tmp_path, work, replicas=2)


def test_orders_for_two_symbols_stand_without_the_store(
    bundles: list[Bundle], tmp_path: Path
) -> None:
    async def work(cluster: Cluster) -> None:
        await filled(cluster)
        await decided(cluster, 1)  # from then on it knows the bars
        stores = [cluster.replica(i)._open.store for i in (0, 1)]
        with Lost(stores[0], "append", "probe"), Lost(stores[1], "append", "probe"):
            for symbol, action in (("S0", "pause"), ("S1", "force_hold")):
                order = {"action": action, "symbol": symbol}
                answer = await accepted(cluster, "/admin/override", order)
                assert answer["override"] == action
            stand = {"S0": "paused", "S1": "forced_hold"}
            assert await decided(cluster) == stand | {"S2": "state_unavailable"}
            other = await decided(cluster, 1)  # which has not written since
            assert {symbol: other[symbol] for symbol in stand} == stand

        async def recorded() -> bool:
            machine = cluster.machine()
            found = [str(machine.symbols[symbol].control) for symbol in SYMBOLS]
            orders = cluster.replica()._open.orders
            return found == ["pause", "force_hold", "none"] and not orders.standing()

        await until(recorded)

    with_service(bundles, tmp_path, work, replicas=2, service=SHORT_LEASE)


def test_a_breach_of_the_sum_halts_all_until_every_symbol_has_a_new_session(
    bundles: list[Bundle], tmp_path: Path
) -> None:
    async def work(cluster: Cluster) -> None:
        for symbol in SYMBOLS:
            await accepted(cluster, "/bars", level_bars(symbol, 0, *[100.0] * 400))
        for symbol, side in (("S0", "BUY"), ("S1", "SELL")):
            await accepted(cluster, "/fills", fill_of(symbol, 1, side, 1_000.0, 100.0))
        # S0 loses 5,990 and S1 gains nothing yet: 1.997% of 300,000
        await accepted(cluster, "/bars", level_bars("S0", 300 * 400, 94.01))
        assert "session_halted" not in (await decided(cluster)).values()
        await accepted(cluster, "/bars", level_bars("S0", 300 * 401, 94.0))
        assert set((await decided(cluster, 1)).values()) == {"session_halted"}
        closing = await accepted(cluster, "/decide", {"symbol": "S1"})
        command = closing["decision"]["execution_command"]
        assert (command["side"], command["quantity"]) == ("BUY", 1_000.0)
        health = (await cluster.get("/health")).json()
        assert (health["total"]["halted"], health["total"]["equity"]) == (True, 294_000.0)
        assert health["metrics"]["halted"]
        assert "a limit over the sum of all accounts halted trading" in [
            alert["message"] for alert in health["alerts"]
        ]
        assert "tactical_total_halted 1.0" in (await cluster.get("/metrics")).text.splitlines()
        await accepted(cluster, "/admin/override", {"action": "resume"})
        await accepted(cluster, "/bars", level_bars("S0", 2 * DAY, 94.0))
        await accepted(cluster, "/bars", level_bars("S1", 2 * DAY, 100.0))
        assert cluster.machine().total.halted
        await accepted(cluster, "/bars", level_bars("S2", 2 * DAY, 100.0))
        assert "session_halted" not in (await decided(cluster, 1)).values()

    with_service(bundles, tmp_path, work, replicas=2, limits=LIMITS)


def test_a_restart_keeps_everything(bundles: list[Bundle], tmp_path: Path) -> None:
    before: dict[str, Any] = {}

    async def first(cluster: Cluster) -> None:
        await filled(cluster)
        await accepted(cluster, "/fills", fill_of("S1", 1, "BUY", 10.0, 100.0))
        await accepted(cluster, "/admin/override", {"action": "pause", "symbol": "S2"})
        before.update(state=cluster.machine().dump(), decided=await decided(cluster))

    async def again(cluster: Cluster) -> None:
        assert cluster.machine().dump() == before["state"]
        assert await decided(cluster) == before["decided"]

    with_service(bundles, tmp_path, first, limits=LIMITS)
    with_service(bundles, tmp_path, again, limits=LIMITS)


def test_a_symbol_without_its_bundle_is_reported_and_not_lost(
    bundles: list[Bundle], tmp_path: Path
) -> None:
    async def first(cluster: Cluster) -> None:
        await filled(cluster)
        await accepted(cluster, "/fills", fill_of("S1", 1, "BUY", 10.0, 100.0))

    async def without(cluster: Cluster) -> None:
        assert cluster.machine().left_out == ("S1",)
        health = (await cluster.get("/health")).json()
        assert set(health["symbols"]) == {"S0", "S2"}
        alerts = [alert for alert in health["alerts"] if alert["component"] == "account"]
        assert [alert["severity"] for alert in alerts] == ["critical"]
        assert "S1, for which no bundle was given: position 10 lots" in alerts[0]["message"]
        assert 'tactical_left_out_lots{symbol="S1"} 10.0' in (await cluster.get("/metrics")).text
        for path, body in (
            ("/decide", {"symbol": "S1"}),
            ("/bars", bars_of("S1", 380, 381)),
            ("/fills", fill_of("S1", 2, "SELL", 1.0, 100.0)),
            ("/admin/override", {"action": "pause", "symbol": "S1"}),
        ):
            response = await cluster.post(path, body)
            error = response.json()["error"]
            assert (response.status_code, error["code"]) == (422, "wrong_symbol")
            assert "'S0', 'S2', found 'S1'" in error["message"]
        await accepted(cluster, "/admin/override", {"action": "pause"})

    async def back(cluster: Cluster) -> None:
        assert cluster.machine().left_out == ()
        state = cluster.replica().active("S1").state
        assert (state.account.side, state.account.quantity) == (1, 10.0)
        assert str(state.control) == "pause"  # what was ordered for all counts for it too

    with_service(bundles, tmp_path, first)
    with_service([bundles[0], bundles[2]], tmp_path, without)
    with_service(bundles, tmp_path, back)


def test_a_bundle_replaces_that_of_its_symbol_and_decisions_are_replayed(
    bundles: list[Bundle], tmp_path: Path
) -> None:
    async def work(cluster: Cluster) -> None:
        await filled(cluster)
        await decided(cluster)
        replaced = bundles_for(tmp_path / "new", ["S9", "S8", "S1"])
        refusal = await refused(cluster, "/admin/model", {"path": str(replaced[0].path)})
        assert refusal == (422, "bundle_refused", "path")
        answer = await accepted(cluster, "/admin/model", {"path": str(replaced[2].path)})
        assert (answer["bundle_id"], answer["previous"]) == (
            replaced[2].bundle_id,
            bundles[1].bundle_id,
        )
        await decided(cluster)

    with_service(bundles, tmp_path, work, replicas=1)
    name = find_journal(str(tmp_path / "state"), "S1")
    assert len(list(read_decisions(name))) == 4  # those of S0 and S2 are the same again
    for symbol, count in (("S1", 2), ("S2", 1), (None, 4)):
        found = replay(name, symbol=symbol)
        assert (found.decisions, found.differ) == (count, 0)
