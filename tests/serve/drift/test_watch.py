"""The monitor beside a service: what it sees is what a backtest of the same bars sees."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from rllib_tactical.backtest.engine import bundle_votes, run_backtest
from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.data.calendar.sessions import sessions_of
from rllib_tactical.domain.simulation.history import MarketHistory, build_history
from rllib_tactical.domain.types import Bars
from rllib_tactical.errors import UsageError
from rllib_tactical.monitoring.observations import observations_of
from rllib_tactical.monitoring.profile import DriftProfile, fit_profile, write_profile
from serve.drift.alerts import drift_alerts
from serve.drift.observed import observe_state
from serve.drift.status import DRIFT_FILE, DriftReader, DriftStatus, SymbolDrift
from serve.drift.watch import DriftWatch, check_drift, read_profiles
from tests.serve.conftest import walk
from tests.serve.local import Cluster, running
from tests.serve.observability.test_gauges import samples
from tests.serve.writes import accepted, bar_at

pytestmark = pytest.mark.slow

DAY, REFERENCE_DAYS, LIVE_DAYS = 288, 33, 2
WARM_DAYS = 2  # sent before the first decision


@pytest.fixture(scope="module")
def bars() -> Bars:
    return walk(DAY * (REFERENCE_DAYS + WARM_DAYS + LIVE_DAYS), seed=21)


@pytest.fixture(scope="module")
def profile(bundle: Bundle, bars: Bars) -> DriftProfile:
    history = history_of(bundle, bars[: DAY * REFERENCE_DAYS])
    t = np.arange(history.first_decision, len(history))
    result = run_backtest(
        history, bundle_votes(bundle, history, t), bundle.rules, int(t[0]), len(history)
    )
    return fit_profile(
        observations_of(result), bundle_id=bundle.bundle_id, symbol="TEST", windows=(1,)
    )


def history_of(bundle: Bundle, bars: Bars) -> MarketHistory:
    instrument = bundle.instrument
    return build_history(bars, sessions_of(bars, instrument), instrument)


async def trade(cluster: Cluster, bars: Bars, first: int) -> int:
    """Send bars one by one from ``first`` on, decide on each, and report entries and exits."""
    open_since, side, entries = -1, "", 0
    await accepted(
        cluster, "/bars", {"symbol": "TEST", "bars": [bar_at(bars, t) for t in range(first)]}
    )
    for t in range(first, len(bars)):
        await accepted(cluster, "/bars", {"symbol": "TEST", "bars": [bar_at(bars, t)]})
        answer = await accepted(cluster, "/decide", {"market_context": {"symbol": "TEST"}})
        command = answer["decision"]["execution_command"]
        now, price = int(bars.timestamp_s[t]) + 300, float(bars.close[t])
        fill: dict[str, Any] = {"quantity": 1.0, "timestamp": now, "price": price}
        if open_since < 0 and command is not None and t < len(bars) - 10:
            open_since, side, entries = t, command["side"], entries + 1
            worse = price * (1.0 + 2e-4 * (1 if side == "BUY" else -1))
            fill |= {"side": side, "price": worse, "metadata": command["metadata"]}
        elif open_since >= 0 and t - open_since == 5:
            open_since, fill["side"] = -1, "SELL" if side == "BUY" else "BUY"
        else:
            continue
        fill["fill_id"] = f"{t}-{fill['side']}"
        await accepted(cluster, "/fills", {"symbol": "TEST", "fills": [fill]})
    return entries


def test_the_monitor_sees_what_a_backtest_sees_and_health_and_metrics_show_it(
    bundle: Bundle, bars: Bars, profile: DriftProfile, tmp_path: Path
) -> None:
    state, place = tmp_path / "state", tmp_path / "profiles"
    place.mkdir()
    write_profile(place / "one.json", profile)
    live = bars[DAY * REFERENCE_DAYS :]
    watch = DriftWatch(str(state), state, place, clock=lambda: 7.0)

    async def work() -> None:
        async with running(bundle, tmp_path) as cluster:
            entries = await trade(cluster, live, DAY * WARM_DAYS)
            assert entries > 10
            await cluster.apps[0]._replica.recorder.stop()  # what it holds is written
            assert watch.check()
            assert not watch.check()  # nothing new
            found = samples((await cluster.get("/metrics")).text)
            sessions = found["tactical_drift_sessions", (("symbol", "TEST"),)]
            assert sessions == WARM_DAYS + LIVE_DAYS - 1  # features are warm on the second day
            assert found["tactical_drift_alarms", (("symbol", "TEST"),)] == 0.0
            for group in ("inputs", "behavior", "outcomes"):
                labels = (("group", group), ("symbol", "TEST"))
                assert 0.0 <= found["tactical_drift_ratio", labels] <= 1.0
            health = (await cluster.get("/health")).json()
            assert not [each for each in health["alerts"] if each["component"] == "drift"]

            strict = {
                group: tuple(dataclasses.replace(each, value=1e-9) for each in limits)
                for group, limits in profile.thresholds.items()
            }
            write_profile(place / "one.json", dataclasses.replace(profile, thresholds=strict))
            watch._known = None
            watch._sequence = -1
            assert watch.check()
            health = (await cluster.get("/health")).json()
            (alert,) = [each for each in health["alerts"] if each["component"] == "drift"]
            assert alert["severity"] == "warning"
            assert alert["message"].startswith("Drift: ")

    asyncio.run(work())
    assert watch._profiled == {bundle.bundle_id}
    found = observe_state(str(state), "TEST", bundle.bundle_id)
    assert found is not None
    history = history_of(bundle, live)
    start = DAY * WARM_DAYS
    votes = bundle_votes(bundle, history, np.arange(start, len(history)))
    traded = observations_of(run_backtest(history, votes, bundle.rules, start, len(history)))
    # all of it but the last bar, on which a backtest does not decide
    count = len(traded.confidence)
    np.testing.assert_array_equal(
        found.inputs[start - history.first_decision :][:count], traded.inputs
    )
    np.testing.assert_array_equal(found.votes[:count], traded.votes)
    np.testing.assert_array_equal(found.decision_session[:count], traded.decision_session)
    assert len(found.decision_session) == count + 1
    np.testing.assert_allclose(found.slippage, 2e-4, rtol=1e-6)
    assert np.isfinite(found.score).all() and np.isfinite(found.right).all()
    assert observe_state(str(state), "TEST", "c" * 64).pnl.size == 0  # type: ignore[union-attr]
    assert observe_state(str(state), "OTHER", bundle.bundle_id) is None


def test_a_bundle_without_profile_is_named(
    bundle: Bundle, profile: DriftProfile, tmp_path: Path
) -> None:
    async def work() -> None:
        async with running(bundle, tmp_path):
            pass

    asyncio.run(work())
    state = str(tmp_path / "state")
    status, reports = check_drift(state, {}, 5.0)
    assert status.symbols["TEST"] == SymbolDrift(bundle_id=bundle.bundle_id, profile=False)
    assert reports == {}
    # with one, but without bars yet
    status, _ = check_drift(state, {bundle.bundle_id: profile}, 5.0)
    assert status.symbols["TEST"].profile and status.symbols["TEST"].sessions == 0


def test_a_monitor_needs_profiles(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--drift must hold the profile of a bundle, found none"):
        read_profiles(tmp_path)
    with pytest.raises(UsageError, match="--drift"):
        DriftWatch("state", tmp_path, tmp_path)


def test_alerts_are_of_the_bundle_that_decides() -> None:
    drift = SymbolDrift(bundle_id="a", profile=True, alarms=2, words="Drift: two")
    found = {"X": drift, "Y": drift}
    assert [a.message for a in drift_alerts(found, {"X": "a", "Y": "b"})] == ["X: Drift: two"]
    assert [a.message for a in drift_alerts(found, {"X": "a"})] == ["Drift: two"]
    assert drift_alerts({}, {"X": "a"}) == []


def test_the_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    reader = DriftReader(tmp_path)
    assert reader.read() == {}
    first = SymbolDrift(bundle_id="a", profile=True, alarms=1)
    status = DriftStatus(at_s=1.0, sequence=2, symbols={"X": first})
    (tmp_path / DRIFT_FILE).write_bytes(msgspec.json.encode(status))
    assert reader.read() == {"X": first}
    (tmp_path / DRIFT_FILE).write_text("not JSON, and of another time")
    assert reader.read() == {"X": first}  # what was known last
    (tmp_path / DRIFT_FILE).unlink()
    assert reader.read() == {}
