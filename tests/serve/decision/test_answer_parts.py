"""What an answer says of the votes and of the order, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.domain.features.table import FeatureTable
from tests.serve.conftest import request_at
from tests.serve.decision.deciding import ask, fixed


def test_a_long_order_by_hand(bundle: Bundle, table: FeatureTable) -> None:
    request = request_at(table, 300)
    request["market_context"].update(current_price=100.0, atr_5min=0.5)
    # temperature scale 0.5: the chosen action has probability e^6 / (e^6 + 2) = 0.99507
    body = ask(fixed(bundle), request)
    command = body["decision"]["execution_command"]
    assert command["side"] == "BUY"
    assert (command["order_type"], command["time_in_force"]) == ("MARKET", "IOC")
    assert (command["stop_loss"], command["take_profit"]) == (99.0, 101.5)
    assert command["quantity"] == 200.0  # 0.995 / 0.8 is capped at 1
    chosen = np.exp(6.0) / (np.exp(6.0) + 2.0)
    assert body["decision"]["confidence"] == pytest.approx(chosen, abs=1e-12)
    assert command["metadata"] == {
        "source": "policy",
        "decision_id": body["decision_id"],
        "bundle_id": bundle.bundle_id,
        "confidence": body["decision"]["confidence"],
        "votes": {"fvg": "long", "momentum": "up", "entry": "execute"},
        "synergy_aligned": None,
    }
    entry = body["agent_breakdown"]["entry"]
    assert entry["expected_action"] == pytest.approx(0.0, abs=1e-12)  # wait and aggressive cancel
    assert body["agent_breakdown"]["fvg"]["expected_action"] == pytest.approx(
        chosen - (1.0 - chosen) / 2.0
    )


@pytest.mark.parametrize(
    ("momentum", "stance"),
    [(0.4, "trend_following"), (-0.4, "counter_trend"), (0.0, "neutral")],
)
def test_stance_of_the_momentum_agent(
    bundle: Bundle, table: FeatureTable, momentum: float, stance: str
) -> None:
    request = request_at(table, 300)
    request["matrix_state"][-1][5] = momentum
    assert ask(fixed(bundle), request)["agent_breakdown"]["momentum"]["stance"] == stance
