"""What the demo sends and prints; the whole of it runs in the tests of the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from rllib_tactical.cli.demo import _describe_answer, decide_request, demo_command, table_lines
from rllib_tactical.domain.types import WINDOW
from rllib_tactical.errors import UsageError
from serve.api.decide_request import DecideRequest
from tests.market import random_history

ROW: dict[str, Any] = {
    "label": "Random",
    "net_pnl": -1234.4,
    "trades": 1200,
    "win_rate": 0.456,
    "max_drawdown": 0.0234,
}


def test_the_table_of_policies_is_lined_up() -> None:
    lines = table_lines([ROW, {**ROW, "label": "No trades", "trades": 0, "win_rate": None}])
    assert len({len(line) for line in lines}) == 1
    assert lines[2].split() == ["Random", "-1,234", "1,200", "46%", "2.3%"]
    assert lines[3].split() == ["No", "trades", "-1,234", "0", "-", "2.3%"]


def test_a_request_is_what_the_service_reads() -> None:
    history = random_history(900, seed=3)
    kind = history.synergy.kind
    plain, with_synergy = (
        next(t for t in range(400, 900) if bool(kind[t]) is wanted) for wanted in (False, True)
    )
    request = decide_request(history, plain)
    assert request["synergy_context"] is None
    assert request["matrix_state"] == history.features.raw[plain - WINDOW + 1 : plain + 1].tolist()
    context = request["market_context"]
    assert context["current_price"] == history.bars.close[plain]
    assert context["atr_5min"] == history.features.atr[plain]
    request = decide_request(history, with_synergy)
    assert request["synergy_context"]["synergy_type"] == f"TYPE_{kind[with_synergy]}"
    msgspec.convert(request, DecideRequest)


def answer(order: dict[str, Any] | None) -> dict[str, Any]:
    vote = {"label": "long", "confidence": 0.9, "probabilities": [0.9, 0.05, 0.05]}
    decision = {"action": "long", "confidence": 0.88, "execute": order is not None}
    return {
        "decision": {**decision, "reason": "execute", "execution_command": order},
        "timing": {"total_ms": 3.21},
        "agent_breakdown": {"fvg": vote},
    }


def test_a_decision_is_printed_with_its_votes_and_its_order() -> None:
    order = {
        "side": "BUY",
        "quantity": 12.5,
        "symbol": "SYNTH",
        "order_type": "MARKET",
        "time_in_force": "IOC",
        "stop_loss": 98.0,
        "take_profit": 103.25,
    }
    head, vote, last = _describe_answer(answer(order), "http://127.0.0.1:8001")
    assert head == (
        "POST http://127.0.0.1:8001/decide -> long with confidence 0.88, execute true (execute), "
        "3.2 ms"
    )
    assert vote.split() == ["fvg", "long", "confidence", "0.90", "[0.90", "0.05", "0.05]"]
    assert last == ("  order     BUY 12.5 SYNTH MARKET IOC, stop loss 98, take profit 103.25")
    assert _describe_answer(answer(None), "u")[-1] == "  no order"


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    done = CliRunner().invoke(demo_command, ["--out", str(tmp_path)])
    assert isinstance(done.exception, UsageError)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("seconds", ["0", "0.5"])
def test_there_is_a_shortest_training(tmp_path: Path, seconds: str) -> None:
    words = ["--out", str(tmp_path / "demo"), "--train-seconds", seconds]
    assert CliRunner().invoke(demo_command, words).exit_code == 2
    assert not (tmp_path / "demo").exists()
