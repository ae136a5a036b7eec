"""The operator's page in a real browser: every state, every control, past days and why."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.config.service import ServiceConfig
from rllib_tactical.domain.types import Reason
from serve.api.experiment import ExperimentAnswer, SymbolExperiment
from serve.drift.status import DRIFT_FILE, DriftStatus, SymbolDrift
from serve.experiment.status import write_experiment
from serve.state.records import Challenger, ExperimentRecord
from tests.serve.conftest import walk
from tests.serve.dashboard.browser import SIZES, started, visit
from tests.serve.dashboard.scene import READS, Market, dated, free_port, served
from tests.serve.experiment.test_status import challenger
from tests.serve.local import Lost
from tests.serve.several import bundles_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with started() as found:
        yield found


def traded(client: Any, bars: int = 500, steps: int = 120) -> Market:
    market = Market(client)
    market.feed(bars)
    for _ in range(steps):
        market.step()
    return market


@pytest.mark.parametrize(("size", "scheme"), [("laptop", "light"), ("phone", "dark")])
def test_the_live_page_on_a_laptop_and_a_phone(
    browser: Any, bundle: Bundle, tmp_path: Path, size: str, scheme: str
) -> None:
    with (
        served(bundle, tmp_path) as scene,
        visit(browser, scene, size, color_scheme=scheme) as visitor,
    ):
        market = traded(scene.client)
        page = visitor.page
        page.goto(scene.url)
        page.wait_for_selector("#access-token")
        visitor.check(f"{size}-{scheme}-token")
        page.fill("#access-token", "wrong")
        page.click("#access-form button")
        visitor.until("document.getElementById('access-error').textContent")
        visitor.open()
        page.wait_for_selector("#decision-rows tr")
        assert page.get_attribute("html", "data-theme") == scheme
        market.step()
        text = f"{market.bars.close[market.count - 1]:.2f}"
        visitor.until(f"document.getElementById('price').textContent === '{text}'")
        page.wait_for_selector("#health .lamps")
        visitor.check(f"{size}-{scheme}-live")
        page.check("#orders-only")
        visitor.until("!document.querySelector('#decision-rows tr:not(.order)')")
        page.click("#theme")
        assert page.get_attribute("html", "data-theme") != scheme


@pytest.mark.parametrize("size", list(SIZES))
def test_drift_and_challengers_are_shown_beside_the_decisions(
    browser: Any, bundle: Bundle, tmp_path: Path, size: str
) -> None:
    experiment = ExperimentRecord((Challenger("/elsewhere", "b" * 64, "TEST"),))
    with (
        served(bundle, tmp_path, experiment=experiment) as scene,
        visit(browser, scene, size) as visitor,
    ):
        traded(scene.client, steps=5)
        page = visitor.open()
        page.wait_for_selector("#health .lamps")
        assert not page.is_visible("#drift") and not page.is_visible("#experiment")
        state, now_s = tmp_path / "state", time.time()
        own = challenger("b" * 64, "better")
        own = msgspec.structs.replace(own, account=own.champion_account)
        found = SymbolExperiment(champion=bundle.bundle_id, challengers=[own])
        write_experiment(state, ExperimentAnswer(at_s=now_s, symbols={"TEST": found}))
        drift = SymbolDrift(
            bundle_id=bundle.bundle_id,
            profile=True,
            sessions=5,
            alarms=1,
            ratios={"inputs": 1.3, "behavior": 0.4},
            words="Drift: psi_atr",
        )
        status = DriftStatus(at_s=now_s, sequence=1, symbols={"TEST": drift})
        (state / DRIFT_FILE).write_bytes(msgspec.json.encode(status))
        page.wait_for_selector("#experiment table")
        text = page.inner_text("#experiment")
        assert "challenger is better" in text and "bbbbbbbbbbbb" in text
        assert page.locator("#experiment tbody tr").count() == 2
        assert "Drift: psi_atr" in page.inner_text("#drift")
        assert "130% of the threshold" in page.inner_text("#drift")
        visitor.check(f"{size}-monitors")


def test_a_decision_is_explained_by_keyboard(browser: Any, bundle: Bundle, tmp_path: Path) -> None:
    with served(bundle, tmp_path) as scene, visit(browser, scene) as visitor:
        traded(scene.client)
        page = visitor.open()
        page.wait_for_selector("#decision-rows tr")
        page.check("#orders-only")
        visitor.until("!document.querySelector('#decision-rows tr:not(.order)')")
        page.focus("#decision-rows tr")
        page.keyboard.press("ArrowDown")
        chosen = page.evaluate("document.activeElement.dataset.id")
        rows = page.evaluate(
            "[...document.querySelectorAll('#decision-rows tr')].map(r => r.dataset.id)"
        )
        assert chosen == rows[1]
        page.keyboard.press("Enter")
        page.wait_for_selector("#why-more table", timeout=120_000)
        assert page.locator("#why [aria-label=window] tbody tr").count() == 60
        assert page.locator("#why [aria-label=features] tbody tr").count() == 7
        assert page.locator("#why [role=alert]").count() == 0
        visitor.check("why")
        page.keyboard.press("Escape")
        assert not page.is_visible("#why")
        assert page.evaluate("document.activeElement.dataset.id") == chosen


def test_every_control_is_confirmed_and_in_the_audit_trail(
    browser: Any, bundle: Bundle, tmp_path: Path
) -> None:
    with served(bundle, tmp_path) as scene, visit(browser, scene) as visitor:
        traded(scene.client, steps=5)
        page = visitor.open()
        page.fill("#order-token", READS)
        page.click("#controls button")
        page.wait_for_selector("#controls [role=alert]")
        assert page.locator("#order-pause").count() == 0
        visitor.unlock()
        page.click("#order-pause")
        visitor.check("confirm")
        page.click("#confirm-no")
        assert scene.cluster.machine().of().control.value == "none"
        for action, force in (
            ("pause", "pause"),
            ("force_hold", "force_hold"),
            ("flatten", "flatten"),
            ("resume", "none"),
        ):
            page.fill("#order-note", f"because {action}")
            assert f"In force: {force.replace('_', ' ')} " in visitor.confirm(f"#order-{action}")
            assert scene.cluster.machine().of().control.value == force
            if force != "none":
                visitor.condition(force)
                visitor.check(action)
        other = bundles_for(tmp_path / "other", ["TEST"])[0]
        page.fill("#bundle-path", str(tmp_path / "nowhere"))
        page.click("#controls form button")
        page.click("#confirm-yes")
        assert "Not done" in page.text_content("#controls [role=alert]")
        page.fill("#order-note", "it earns more")
        page.fill("#bundle-path", str(other.path))
        page.click("#controls form button")
        page.click("#confirm-yes")
        page.wait_for_selector(f"#roll-back:has-text('{bundle.bundle_id[:12]}')", timeout=60_000)
        assert scene.cluster.machine().of().model.bundle_id == other.bundle_id
        page.click("#roll-back")
        page.click("#confirm-yes")
        page.wait_for_selector(f"#roll-back:has-text('{other.bundle_id[:12]}')", timeout=60_000)
        assert scene.cluster.machine().of().model.bundle_id == bundle.bundle_id
        rows = page.locator("#audit tbody tr").all_text_contents()
        told = [
            f"promotion {bundle.bundle_id[:12]}", f"promotion {other.bundle_id[:12]}",
            "resume", "flatten", "force hold", "pause", f"start {bundle.bundle_id[:12]}",
        ]  # fmt: skip
        assert all(text in row for text, row in zip(told, rows, strict=True))
        assert "the desk from 127.0.0.1because pause" in rows[5]
        assert "the desk from 127.0.0.1it earns more" in rows[1]
        page.click("#lock")
        assert page.locator("#order-pause").count() == 0


def test_without_a_token_there_are_no_controls(
    browser: Any, bundle: Bundle, tmp_path: Path
) -> None:
    free: dict[str, Any] = {"token_digest": None, "admin_digest": None}
    with served(bundle, tmp_path, **free) as scene, visit(browser, scene) as visitor:
        page = visitor.open(token=None)
        visitor.condition("no_bars")
        assert "takes no orders" in page.text_content("#controls")
        assert page.locator("#controls button").count() == 0
        visitor.check("no-bars")
        refused = page.evaluate(
            """fetch("admin/override", {method: "POST", body: '{"action": "pause"}'})
               .then(answer => answer.status)"""
        )
        assert refused == 403


def test_halted_stale_and_loading_are_said_first(
    browser: Any, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(bundle, tmp_path) as scene, visit(browser, scene) as visitor:
        market = traded(scene.client, steps=1)
        visitor.open()
        own = scene.cluster.replica()._symbols["TEST"]
        with monkeypatch.context() as patch:
            patch.setattr(own, "follow", lambda model: Reason.MODEL_LOADING)
            assert "being loaded" in visitor.condition("model")
            visitor.check("no-model")
        # bought far above the market: marked at the next close the drawdown is over the limit
        price = float(market.bars.close[market.count - 1]) + 3.0
        fill = {"fill_id": "x", "side": "BUY", "quantity": 2_000.0, "price": price}
        at_s = int(market.bars.timestamp_s[market.count - 1]) + 300
        market.post("/fills", {"symbol": "TEST", "fills": [{**fill, "timestamp": at_s}]})
        market.feed(1)
        assert "halted" in visitor.condition("halted")
        visitor.check("halted")
    live = ServiceConfig(lease_s=20.0, inference_timeout_ms=2e4)
    folder = tmp_path / "stale"
    folder.mkdir()
    with served(bundle, folder, service=live) as scene, visit(browser, scene) as visitor:
        market = Market(scene.client)
        market.feed(400)
        visitor.open()
        assert "stale" in visitor.condition("data_stale")
        visitor.until("document.getElementById('health').textContent.includes('overdue by')")
        visitor.check("stale")


def test_a_lost_store_and_a_lost_service_are_shown_and_end(
    browser: Any, bundle: Bundle, tmp_path: Path
) -> None:
    port = free_port()
    with ExitStack() as stack:
        with served(bundle, tmp_path, port) as scene:
            market = traded(scene.client, steps=1)
            visitor = stack.enter_context(visit(browser, scene))
            page = visitor.open()
            store = scene.cluster.replica()._open.store
            with Lost(store, "version", "read_after", "append", "probe"):
                assert "cannot be read" in visitor.condition("store")
                visitor.check("store-gone")
            page.wait_for_selector("[data-code=store]", state="detached", timeout=60_000)
        assert "No connection" in visitor.condition("connection")
        visitor.errors.clear()  # the browser's own: nobody listens
        visitor.check("cut")
        with served(bundle, tmp_path, port) as scene:
            market.client = scene.client
            page.wait_for_selector(".badge.live", timeout=90_000)
            market.feed(3)
            text = f"{market.bars.close[market.count - 1]:.2f}"
            visitor.until(f"document.getElementById('price').textContent === '{text}'")
            assert page.locator("[data-code=connection]").count() == 0


def test_a_past_day_is_stepped_through(browser: Any, bundle: Bundle, tmp_path: Path) -> None:
    with served(bundle, tmp_path) as scene, visit(browser, scene, "phone") as visitor:
        traded(scene.client, bars=600, steps=150)
        page = visitor.open()
        page.click("#mode")
        page.wait_for_selector("#day option", state="attached", timeout=120_000)
        assert page.locator("#day option").all_text_contents() == [
            "2026-03-04", "2026-03-03", "2026-03-02",
        ]  # fmt: skip
        assert "bar 1 of 174" in page.text_content("#replay-time")
        assert page.locator("#decision-rows tr").count() == 0
        page.click("[data-step=next]")
        page.wait_for_selector("#decision-rows tr.order")
        assert page.locator("#decision-rows tr").first.get_attribute("class") == "order"
        shown = page.locator("#decision-rows tr").count()
        page.click("[data-step='1']")
        visitor.until(f"document.querySelectorAll('#decision-rows tr').length === {shown + 1}")
        page.click("[data-step='-1']")
        visitor.until(f"document.querySelectorAll('#decision-rows tr').length === {shown}")
        visitor.condition("past")
        visitor.check("day")
        page.focus("#position")
        page.keyboard.press("End")
        visitor.until(
            "document.getElementById('replay-time').textContent.includes('bar 174 of 174')"
        )
        page.keyboard.press("Home")
        page.click("#play")
        visitor.until("document.getElementById('replay-time').textContent.startsWith('bar 4 ')")
        page.click("#play")
        page.select_option("#day", "2026-03-02")
        visitor.until("document.getElementById('replay-time').textContent.includes('of 288')")
        page.click("#mode")
        assert not page.is_visible("#replay")


def test_several_symbols_are_chosen_from(browser: Any, tmp_path: Path) -> None:
    bundles = bundles_for(tmp_path / "bundles", ["S0", "S1"])
    with served(bundles, tmp_path) as scene, visit(browser, scene) as visitor:
        markets = [Market(scene.client, symbol) for symbol in ("S0", "S1")]
        for market in markets:
            market.feed(60)
        markets[1].feed(40)
        page = visitor.open()
        page.wait_for_selector("#symbols table")
        assert "60 bars" in page.text_content("#legend")
        page.click("#symbols button:has-text('S1')")
        visitor.until("document.getElementById('legend').textContent.includes('100 bars')")
        assert page.input_value("#symbol") == "S1"
        visitor.unlock()
        page.select_option("#order-scope", "")
        visitor.confirm("#order-pause")
        visitor.until("document.getElementById('symbols').textContent.split('pause').length === 3")
        visitor.check("several")


def test_a_week_of_bars_leaves_the_page_as_large_as_it_was(
    browser: Any, bundle: Bundle, tmp_path: Path
) -> None:
    with served(bundle, tmp_path) as scene, visit(browser, scene) as visitor:
        market = Market(scene.client, bars=dated(walk(2_700, seed=7)))
        market.feed(300)
        page = visitor.open()
        session = page.context.new_cdp_session(page)

        def heap_mb() -> float:
            session.send("HeapProfiler.collectGarbage")
            return float(session.send("Runtime.getHeapUsage")["usedSize"]) / 1e6

        def seen() -> None:
            text = f"{market.bars.close[market.count - 1]:.2f}"
            visitor.until(f"document.getElementById('price').textContent === '{text}'")

        sizes = []
        for _ in range(8):  # a day each, more than a week's bars in all
            for _ in range(12):
                market.feed(24)
            seen()
            sizes.append(heap_mb())
        assert "1500 bars" in page.text_content("#legend")
        assert sizes[-1] < 1.2 * sizes[4]  # full by then
        visitor.check("week")
