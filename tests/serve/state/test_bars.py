"""Which bars are accepted, and the matrix that is made of them."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.features.table import compute_features
from rllib_tactical.domain.types import Bars
from rllib_tactical.synthetic import make_market
from serve.state import bars as bars_module
from serve.state.bar_streams import BarRow
from serve.state.bars import BarBuffer, BufferImage
from tests.serve.conftest import walk
from tests.serve.local import SERVICE, Cluster
from tests.serve.writes import (
    BARS,
    accepted,
    bar_at,
    bars_body,
    fills_body,
    refused,
    with_service,
)
from tests.serve.writes import fill as posted

COLUMNS = ("timestamp_s", "open", "high", "low", "close", "volume")


def test_bars_are_accepted_once(bundle: Bundle, tmp_path: Path) -> None:
    async def work(cluster: Cluster) -> None:
        await accepted(cluster, "/bars", bars_body(0, 50))
        again = await accepted(cluster, "/bars", bars_body(40, 60))
        assert (again["accepted"], again["repeated"], again["bars"]) == (10, 10, 60)
        assert again["last_timestamp"] == 59 * 300
        iso = bar_at(BARS, 60, timestamp="1970-01-01T05:00:00Z")
        milliseconds = bar_at(BARS, 61, timestamp="1970-01-01T06:05:00+01:00")
        found = await accepted(cluster, "/bars", {"symbol": "TEST", "bars": [iso, milliseconds]})
        assert (found["accepted"], found["last_timestamp"]) == (2, 61 * 300)

    with_service(bundle, tmp_path, work, replicas=1)


def changed(t: int, **changes: Any) -> dict[str, Any]:
    return {"symbol": "TEST", "bars": [bar_at(BARS, 49), bar_at(BARS, t, **changes)]}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (changed(50, timestamp=50 * 300 + 1), (422, "off_grid", "bars[1].timestamp")),
        (changed(50, timestamp=4_102_444_800), (422, "not_closed", "bars[1].timestamp")),
        (changed(50, timestamp=20 * 300), (422, "out_of_order", "bars[1].timestamp")),
        (changed(49), (422, "out_of_order", "bars[1].timestamp")),
        (changed(50, timestamp=-300), (422, "invalid_field", "bars[1].timestamp")),
        (changed(50, timestamp="soon"), (422, "invalid_field", "bars[1].timestamp")),
        (changed(50, timestamp="1200-01-01T00:00:00"), (422, "invalid_field", "bars[1].timestamp")),
        (changed(50, high=0.5), (422, "invalid_field", "bars[1].high")),
        (changed(50, low=1e6), (422, "invalid_field", "bars[1].low")),
        (changed(50, open=0), (422, "invalid_field", "bars[1].open")),
        (changed(50, volume=-1), (422, "invalid_field", "bars[1].volume")),
        (changed(50, extra=1), (422, "unknown_field", "bars[1].extra")),
        ({"symbol": "OTHER", "bars": [bar_at(BARS, 50)]}, (422, "wrong_symbol", "symbol")),
        ({"symbol": "TEST", "bars": []}, (422, "invalid_field", "bars")),
        (
            {"symbol": "TEST", "bars": [bar_at(BARS, 30, volume=1.0)]},
            (409, "conflict", "bars[0].volume"),
        ),
        (
            {"symbol": "TEST", "bars": [bar_at(BARS, 50), bar_at(BARS, 51, high=1.0)]},
            (422, "invalid_field", "bars[1].high"),
        ),
    ],
)
def test_refused_bars_change_nothing(
    bundle: Bundle, tmp_path: Path, body: dict[str, Any], expected: tuple[int, str, str]
) -> None:
    async def work(cluster: Cluster) -> None:
        await accepted(cluster, "/bars", bars_body(0, 50))
        before = cluster.machine().dump()
        assert await refused(cluster, "/bars", body) == expected
        assert cluster.machine().dump() == before
        found = await accepted(cluster, "/bars", bars_body(49, 50))
        assert (found["repeated"], found["bars"]) == (1, 50)

    with_service(bundle, tmp_path, work, replicas=1)


def test_a_revised_bar_and_a_late_one_are_computed_as_if_they_had_been_right(
    bundle: Bundle, tmp_path: Path
) -> None:
    table = compute_features(BARS)

    async def work(cluster: Cluster) -> None:
        await accepted(cluster, "/bars", bars_body(0, 395))
        wrong = {"symbol": "TEST", "bars": [bar_at(BARS, 395, high=1e4, close=1e3)]}
        await accepted(cluster, "/bars", wrong)
        await accepted(cluster, "/bars", bars_body(397, 398), 1)
        late = await accepted(cluster, "/bars", bars_body(396, 397))
        assert (late["accepted"], late["late"], late["degraded"]) == (1, 1, False)
        body = {**bars_body(394, 400), "note": "exchange corrected the print"}
        assert (await refused(cluster, "/bars", body))[:2] == (409, "conflict")
        found = await accepted(cluster, "/bars", body | {"revise": True})
        assert (found["accepted"], found["revised"], found["repeated"]) == (2, 1, 3)
        again = await accepted(cluster, "/bars", body | {"revise": True}, 1)
        assert (again["accepted"], again["revised"], again["repeated"]) == (0, 0, 6)
        for replica in (0, 1):
            await accepted(cluster, "/decide", {"symbol": "TEST"}, replica)
            market = cluster.machine(replica).snapshot().market
            assert market is not None
            assert market.matrix == table.raw[340:400].tobytes()
            assert (market.price, market.atr) == (table.close[399], table.atr[399])
            assert (market.bars, market.bars_since_gap) == (400, None)

    with_service(bundle, tmp_path, work, replicas=2)


def test_a_bar_that_is_more_than_one_place_late_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    async def work(cluster: Cluster) -> None:
        await accepted(cluster, "/bars", bars_body(0, 50))
        await accepted(cluster, "/bars", bars_body(51, 53))
        before = cluster.machine().dump()
        for body in (bars_body(50, 51), {**bars_body(50, 51), "revise": True}):
            refusal = (422, "out_of_order", "bars[0].timestamp")
            assert await refused(cluster, "/bars", body) == refusal
        assert cluster.machine().dump() == before

    with_service(bundle, tmp_path, work, replicas=1)


def test_bars_older_than_those_kept_are_not_known_and_no_longer_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bars_module, "KEPT_BARS", 100)
    synthetic = make_market("regime", 5, 700)
    rows = [
        BarRow(*(getattr(synthetic.bars, name)[t].item() for name in COLUMNS)) for t in range(700)
    ]
    right, revised = (BarBuffer(synthetic.instrument, 300) for _ in range(2))
    for row in rows:
        right.push((row,), 1.0)
        wrong = row._replace(close=row.high, volume=7.0) if row is rows[620] else row
        revised.push((wrong,), 1.0)
    assert revised.state() != right.state()
    revised.push((rows[620],), 1.0)
    assert revised.image() == right.image()
    assert len(right.image().rows) == 100


def on_ticks(length: int) -> Bars:
    """Return a walk whose prices are multiples of a cent."""
    bars = walk(length, seed=7)
    prices = {name: np.round(getattr(bars, name), 2) for name in ("open", "high", "low", "close")}
    return replace(bars, **prices)


def test_bars_that_may_be_wrong_hold_until_they_are_revised_or_have_passed(
    bundle: Bundle, tmp_path: Path
) -> None:
    """A print of ten times the price, with a position: nothing is sold on it, though it halts."""
    bars = on_ticks(800)
    start = int(time.time()) // 300 * 300 - 800 * 300
    bars = replace(bars, timestamp_s=bars.timestamp_s + start)
    wrong = {"high": 2000.0, "close": round(10.0 * float(bars.close[700]), 2)}
    service = replace(SERVICE, live_bars=True)

    async def work(cluster: Cluster) -> None:
        async def decided() -> tuple[str, Any]:
            found = (await accepted(cluster, "/decide", {"symbol": "TEST"}))["decision"]
            return found["reason"], found["execution_command"]

        async def suspect() -> Any:
            health = (await cluster.get("/health")).json()
            alerts = [alert["message"] for alert in health["alerts"]]
            said = any("may be wrong (outlier_return)" in text for text in alerts)
            assert said == bool(health["components"]["bus"]["suspect"])
            return health["components"]["bus"]["suspect"]

        await accepted(cluster, "/bars", bars_body(0, 700, bars))
        held = posted(1, "BUY", 100.0, float(bars.close[699]), timestamp=start + 699 * 300)
        await accepted(cluster, "/fills", fills_body(held))
        assert (await decided())[0] != "data_suspect"
        assert await suspect() == []
        for body in (
            {"symbol": "TEST", "bars": [bar_at(bars, 700, **wrong)]},
            bars_body(701, 759, bars),
        ):
            await accepted(cluster, "/bars", body)
            assert await decided() == ("data_suspect", None)
            assert await suspect() == ["outlier_return"]
        revision = {**bars_body(700, 701, bars), "revise": True}
        await accepted(cluster, "/bars", revision)
        assert (await decided())[0] != "data_suspect"
        again = {"symbol": "TEST", "bars": [bar_at(bars, 700, **wrong)], "revise": True}
        await accepted(cluster, "/bars", again)
        assert (await decided())[0] == "data_suspect"
        await accepted(cluster, "/bars", bars_body(759, 761, bars))
        assert (await decided())[0] == "data_suspect"  # the way back is an outlier too
        await accepted(cluster, "/bars", bars_body(761, 762, bars))
        assert (await decided())[0] != "data_suspect"

    with_service(bundle, tmp_path, work, replicas=1, service=service)


def test_times_and_prices_are_shown_as_they_are(bundle: Bundle, tmp_path: Path) -> None:
    """Shortened to six digits a time would be off by hours, and two prices would look the same."""

    async def work(cluster: Cluster) -> None:
        await accepted(cluster, "/bars", bars_body(0, 50))
        close = bar_at(BARS, 49)["close"]
        for body, expected in (
            (changed(50, timestamp=1_700_000_001), "found 1700000001"),
            (changed(50, timestamp=4_102_444_800), "it closes at 4102445100, now is"),
            (
                {"symbol": "TEST", "bars": [bar_at(BARS, 49, close=close + 1e-9)]},
                f"was accepted with {close!r}, found {close + 1e-9!r}",
            ),
        ):
            response = await cluster.post("/bars", body)
            assert expected in response.json()["error"]["message"]

    with_service(bundle, tmp_path, work, replicas=1)


def test_missing_bars_are_reported_and_hold_for_a_while(bundle: Bundle, tmp_path: Path) -> None:
    async def work(cluster: Cluster) -> None:
        await accepted(cluster, "/bars", bars_body(0, 400))
        gap = await accepted(cluster, "/bars", bars_body(403, 404))
        assert gap["gaps"] == [{"after": 399 * 300, "before": 403 * 300, "missing_bars": 3}]
        assert gap["degraded"]
        for t in range(404, 409):
            answer = await accepted(cluster, "/decide", {"symbol": "TEST"}, 1)
            assert answer["decision"]["reason"] == "data_gap"
            await accepted(cluster, "/bars", bars_body(t, t + 1))
        answer = await accepted(cluster, "/decide", {"symbol": "TEST"}, 1)
        assert answer["decision"]["reason"] != "data_gap"
        healed = await accepted(cluster, "/bars", bars_body(409, 464))
        assert not healed["degraded"]

    with_service(bundle, tmp_path, work, replicas=2)


def test_bars_in_the_service_are_the_batch_bit_for_bit(bundle: Bundle, tmp_path: Path) -> None:
    table = compute_features(BARS)

    async def work(cluster: Cluster) -> None:
        await accepted(cluster, "/bars", bars_body(0, 600))
        market = cluster.machine().snapshot().market
        assert market is not None
        assert market.matrix == table.raw[540:600].tobytes()
        assert (market.price, market.atr) == (table.close[599], table.atr[599])

    with_service(bundle, tmp_path, work, replicas=1)


@pytest.mark.slow
def test_a_resumed_buffer_goes_on_as_one_that_never_stopped() -> None:
    """With a snapshot after every bar: features, synergies, gaps and sessions."""
    synthetic = make_market("regime", 5, 700)
    keep = np.ones(len(synthetic.bars), dtype=np.bool_)
    keep[[400, 520, 521]] = False
    rows = [
        BarRow(*(getattr(synthetic.bars, name)[t].item() for name in COLUMNS))
        for t in np.flatnonzero(keep)
    ]
    whole, resumed = (BarBuffer(synthetic.instrument, 300) for _ in range(2))
    kinds = set()
    for row in rows:
        image = msgspec.msgpack.decode(msgspec.msgpack.encode(resumed.image()), type=BufferImage)
        resumed = BarBuffer(synthetic.instrument, 300)
        resumed.resume(image)
        assert resumed.push((row,), 1.0) == whole.push((row,), 1.0)
        state = whole.state()
        assert state is not None
        assert resumed.state() == state
        kinds.add((state.synergy.kind > 0, state.bars_since_gap is not None))
    assert kinds == {(False, False), (False, True), (True, False), (True, True)}


def test_the_market_rules_are_looked_up_where_bars_are_live(bundle: Bundle) -> None:
    buffer = BarBuffer(bundle.instrument, 300)
    prices = [(100.0, 101.0, 99.0, 100.0, 5.0)] * 200
    buffer.push(tuple(BarRow(300 * t, *row) for t, row in enumerate(prices)), 0.0)
    replayed, live = buffer.state(live=False), buffer.state()
    assert replayed is not None
    assert live is not None
    assert (replayed.suspect, live.suspect) == ((), ("frozen_prices",))
    assert msgspec.structs.replace(live, suspect=()) == replayed
    buffer.push((BarRow(60_000, 100.0, 101.0, 99.0, 100.5, 5.0),), 1.0)
    after = buffer.state()  # nothing of the bar before is shown again
    assert after is not None
    assert (after.price, after.last_s) == (100.5, 60_000)
