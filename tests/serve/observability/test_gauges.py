"""What alert rules need is in /metrics: read from the text that a real process answers."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.features.table import FeatureTable
from rllib_tactical.domain.simulation.account import Account
from serve.api.operations import WRITES
from serve.api.responses import Accuracy
from serve.decision.risk_state import RiskState
from serve.observability.gauges import ReplicaView, StateCollector, SymbolView
from serve.observability.metrics import Telemetry
from serve.state.portfolio import Trade
from tests.serve.conftest import request_at
from tests.serve.http.test_listener import free_port
from tests.serve.observability.test_health import with_market
from tests.serve.process import replica_process
from tests.serve.writes import bars_body, fill, fills_body

DOCUMENT = Path(__file__).parents[3] / "docs" / "howto" / "service.md"
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(text: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of_test(name: str, found: Samples, **labels: str) -> float:
    labels = {"symbol": "TEST", **labels}
    return found[f"tactical_{name}", tuple(sorted(labels.items()))]


def scraped(client: httpx.Client) -> Samples:
    return samples(client.get("/metrics").text)


@pytest.mark.slow
def test_a_real_process_shows_what_alert_rules_need(
    bundle: Bundle, table: FeatureTable, tmp_path: Path
) -> None:
    def post(path: str, body: Any) -> dict[str, Any]:
        answer = client.post(path, json=body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    service = {"live_bars": False, "max_bar_age_s": 1e6, "inference_timeout_ms": 2e4}
    with replica_process(bundle, tmp_path, free_port(), **service) as (client, _):
        empty = scraped(client)
        assert of_test("equity_dollars", empty) == 100_000.0
        assert not any(name == "tactical_bars_overdue_seconds" for name, _ in empty)
        assert of_test("model_info", empty, bundle_id=bundle.bundle_id) == 1.0
        for operation in WRITES:
            labels = (("endpoint", operation.path),)
            assert empty["tactical_failed_writes_total", labels] == 0.0
        for name in ("decisions_lost_total", "model_load_failures_total", "clock_jump_seconds"):
            assert empty[f"tactical_{name}", ()] == 0.0

        post("/bars", bars_body(0, 390))
        post("/bars", bars_body(392, 400))
        metadata = {
            "source": "policy",
            "decision_id": "d",
            "bundle_id": bundle.bundle_id,
            "confidence": 0.8,
            "votes": {"fvg": "long", "momentum": "down", "entry": "execute"},
            "synergy_aligned": None,
        }
        recent = {"timestamp": int(time.time()) - 60}
        post("/fills", fills_body(fill(1, "BUY", 50.0, 100.0, metadata=metadata, **recent)))
        post("/fills", fills_body(fill(2, "SELL", 50.0, 101.0, **recent)))
        post("/fills", fills_body(fill(3, "BUY", 2_000.0, float(table.close[399]) + 2.0)))
        post("/bars", bars_body(400, 401))
        post("/admin/override", {"action": "pause"})
        broker = {"symbol": "TEST", "request_id": "a", "by": "ann", "note": "n"}
        post("/account", {**broker, "broker": {"position": 0.0}})
        post("/decide", request_at(table, 320))
        account = client.get("/health").json()["metrics"]
        assert account["halted"]

        found = scraped(client)
        equity = of_test("equity_dollars", found)
        assert 0.02 < of_test("session_drawdown_ratio", found) < 0.2
        assert equity < 100_000.0 * (1.0 - 0.02)
        assert of_test("session_drawdown_limit_ratio", found) == 0.02
        assert of_test("halted", found) == of_test("position_mismatch", found) == 1.0
        assert of_test("position_lots", found) == 2_000.0
        assert of_test("bars_missing", found) == 1.0
        assert of_test("bars_overdue_seconds", found) == 0.0
        assert of_test("suspect_bars", found) == 0.0
        controls = {c: of_test("override", found, control=c) for c in ("pause", "flatten")}
        assert controls == {"pause": 1.0, "flatten": 0.0}
        accuracy = {
            agent: of_test("agent_accuracy", found, agent_id=agent, bundle_id=bundle.bundle_id)
            for agent in ("fvg", "momentum")
        }
        assert accuracy == {"fvg": 1.0, "momentum": 0.0}
        assert found["tactical_active_positions", ()] == 1.0
        assert found["tactical_state_available", ()] == 1.0
        assert found["tactical_trade_pnl_dollars_count", ()] == 1.0
        performance = client.get("/performance").json()["by_bundle"]
        assert [(each["bundle_id"], each["trades"]) for each in performance] == [
            (bundle.bundle_id, 1)
        ]

        (tmp_path / "state" / "state.db").rename(tmp_path / "state" / "gone.db")
        assert client.post("/bars", json=bars_body(401, 402)).status_code == 503
        found = scraped(client)
        assert found["tactical_failed_writes_total", (("endpoint", "/bars"),)] == 1.0
        assert found["tactical_state_available", ()] == 0.0
        assert found["tactical_state_age_seconds", ()] > 0.0

        documented = set(re.findall(r"^\| `(tactical_\w+)", DOCUMENT.read_text(), re.MULTILINE))
        families = text_string_to_metric_families(client.get("/metrics").text)
        kinds = {family.name: family.type for family in families}
        suffix = {"counter": "_total"}
        assert documented == {name + suffix.get(kind, "") for name, kind in kinds.items()}


def view(state: RiskState, **changes: Any) -> SymbolView:
    values: dict[str, Any] = {
        "symbol": "TEST",
        "bundle_id": "b" * 64,
        "state": state,
        "drawdown_limit": 0.02,
        "bars_overdue_s": 12.5,
        "trades": [],
        "accuracy": {},
        **changes,
    }
    return SymbolView(**values)


def shown(*symbols: SymbolView, telemetry: Telemetry | None = None, **replica: Any) -> Samples:
    values = {
        "state_age_s": 0.5,
        "state_available": True,
        "model_loading": False,
        "waiting": 3,
        **replica,
    }
    collector = StateCollector(ReplicaView(**values), symbols)
    return samples((telemetry or Telemetry()).scrape(collector).decode())


def test_faults_of_bars_clock_and_bundle_are_shown() -> None:
    suspect = with_market(suspect=("outlier", "off_tick"))
    jumped = RiskState(Account.opened(1_000.0), clock_jump_s=-40.0)
    found = shown(view(suspect), view(jumped, symbol="OTHER"), model_loading=True)
    assert of_test("suspect_bars", found) == 2.0
    assert of_test("suspect_bars", found, symbol="OTHER") == 0.0
    assert of_test("bars_overdue_seconds", found) == 12.5
    assert found["tactical_clock_jump_seconds", ()] == -40.0
    assert found["tactical_model_loading", ()] == 1.0
    assert found["tactical_decisions_waiting", ()] == 3.0
    assert found["tactical_state_age_seconds", ()] == 0.5


def test_accuracy_is_of_each_bundle() -> None:
    accuracy = {"a": Accuracy(0.75, None, None), "b": Accuracy(0.25, 1.0, None)}
    found = shown(view(RiskState(Account.opened(1_000.0)), accuracy=accuracy))
    assert of_test("agent_accuracy", found, agent_id="fvg", bundle_id="a") == 0.75
    assert of_test("agent_accuracy", found, agent_id="fvg", bundle_id="b") == 0.25
    assert len([name for name, _ in found if name == "tactical_agent_accuracy"]) == 3


def test_trades_are_counted_by_their_pnl() -> None:
    trades = [Trade(1, 0.0, 1.0, pnl, None) for pnl in (12.0, -30.0)]
    state = RiskState(replace(Account.opened(1_000.0), side=-1, quantity=3.0))
    found = shown(view(state, trades=trades))
    assert found["tactical_trade_pnl_dollars_count", ()] == 2.0
    assert found["tactical_trade_pnl_dollars_sum", ()] == -18.0
    for bound, count in [("-500.0", 0), ("-25.0", 1), ("0.0", 1), ("10.0", 1), ("25.0", 2)]:
        assert found["tactical_trade_pnl_dollars_bucket", (("le", bound),)] == count
    assert of_test("position_lots", found) == -3.0


def test_totals_of_a_process_are_counted_once() -> None:
    telemetry = Telemetry()
    for lost, failures in ((0, 0), (3, 0), (3, 2), (5, 2)):
        telemetry.record_totals(lost, failures)
    found = shown(telemetry=telemetry)
    assert found["tactical_decisions_lost_total", ()] == 5.0
    assert found["tactical_model_load_failures_total", ()] == 2.0
