"""The answer equals what the domain computes, and a repeat gives the same answer."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.bundle.inference import probabilities
from rllib_tactical.config.service import LatencyTargets, PerformanceConfig
from rllib_tactical.domain.decision.actions import ACTION_NAMES, LABELS
from rllib_tactical.domain.decision.pipeline import Decision, MarketSnapshot, decide
from rllib_tactical.domain.decision.risk import AccountView
from rllib_tactical.domain.decision.votes import greedy_votes
from rllib_tactical.domain.features.table import FeatureTable, InputViews, network_input
from rllib_tactical.domain.types import AGENTS, FloatArray, Reason
from serve.api.decide_request import read_request
from serve.decision.decider import Decider
from tests.serve.conftest import request_at
from tests.serve.decision.deciding import FLAT, LONG_LOGITS, ask, fixed

BARS = np.arange(310, 600)


@pytest.fixture(scope="module")
def decider(bundle: Bundle) -> Decider:
    made = Decider(bundle, PerformanceConfig())
    made.warm_up()
    return made


def direct(bundle: Bundle, table: FeatureTable) -> tuple[FloatArray, Decision]:
    """Return probabilities and decisions as a backtest computes them: all bars in one batch."""
    agent_probabilities = probabilities(
        bundle.engine(), InputViews(table).gather(BARS), bundle.temperature_scale
    )
    count = len(BARS)
    flat = np.zeros(count, dtype=np.int64)
    equity = np.full(count, bundle.rules.risk.initial_equity)
    off, on = np.zeros(count, dtype=np.bool_), np.ones(count, dtype=np.bool_)
    decision = decide(
        greedy_votes(agent_probabilities),
        MarketSnapshot(table.close[BARS], table.atr[BARS], flat, flat),
        AccountView(equity, equity, flat, np.zeros(count), off, on),
        bundle.instrument,
        bundle.rules,
    )
    return agent_probabilities, decision


@pytest.mark.slow
def test_service_equals_batch_bit_for_bit(
    decider: Decider, bundle: Bundle, table: FeatureTable
) -> None:
    agent_probabilities, decision = direct(bundle, table)
    votes = greedy_votes(agent_probabilities)
    for i, t in enumerate(BARS.tolist()):
        request = request_at(table, t)
        parsed = read_request(json.dumps(request).encode(), "TEST", 200.0)
        inputs = network_input(
            parsed.matrix[None], np.array([parsed.price]), np.array([parsed.atr])
        )
        assert inputs.tobytes() == InputViews(table).gather(BARS[i : i + 1]).tobytes()
        body = ask(decider, request)
        for a, agent in enumerate(AGENTS):
            part = body["agent_breakdown"][agent]
            assert part["probabilities"] == agent_probabilities[i, a].tolist()
            assert part["action"] == votes.signed[i, a]
            assert part["index"] == votes.index[i, a]
            assert part["confidence"] == votes.confidence[i, a]
            assert part["label"] == LABELS[agent][votes.index[i, a]]
        found = body["decision"]
        assert found["action"] == ACTION_NAMES[int(decision.action[i])]
        assert found["side"] == ACTION_NAMES[int(decision.vote.side[i])]
        assert found["execute"] == decision.execute[i]
        assert found["reason"] == Reason(int(decision.reason[i])).code
        assert found["confidence"] == decision.confidence[i]
        assert list(found["scores"].values()) == decision.vote.scores[i].tolist()
        command = found["execution_command"]
        assert (command is not None) == decision.execute[i]
        if command:
            assert command["quantity"] == decision.quantity[i]
            assert (command["stop_loss"], command["take_profit"]) == (
                decision.stop[i],
                decision.target[i],
            )
    sides = Counter(decision.action.tolist())
    assert min(sides[1], sides[0], sides[-1]) > 10  # the comparison saw every kind of answer


def shape(value: Any) -> Any:
    """Return names and nesting of a JSON value, without what stands in it."""
    return {key: shape(each) for key, each in value.items()} if isinstance(value, dict) else None


def test_the_documented_answer_has_the_fields_of_the_real_one(
    bundle: Bundle, table: FeatureTable, project_root: Path
) -> None:
    text = (project_root / "docs/howto/service.md").read_text(encoding="utf-8")
    _, _, rest = text.partition("The answer (numbers shortened):")
    documented = json.loads(rest.split("```json")[1].split("```")[0])
    found = ask(fixed(bundle), request_at(table, 300))
    del documented["timing"]  # ``ask`` has checked it
    assert shape(documented) == shape(found)
    command = documented["decision"]["execution_command"]
    assert command["action"] == found["decision"]["execution_command"]["action"] == "execute_trade"


@pytest.mark.parametrize(("direction", "factor", "aligned"), [(1, 1.0, True), (-1, 0.7, False)])
def test_synergy_aligned_and_counter(
    bundle: Bundle, table: FeatureTable, direction: int, factor: float, aligned: bool
) -> None:
    synergy = {"synergy_type": "TYPE_1", "direction": direction, "confidence": 0.9}
    decision = ask(fixed(bundle), request_at(table, 300, synergy_context=synergy))["decision"]
    chosen = np.exp(6.0) / (np.exp(6.0) + 2.0)
    assert decision["confidence"] == pytest.approx(chosen * factor)
    assert decision["execution_command"]["metadata"]["synergy_aligned"] is aligned


@pytest.mark.parametrize(
    ("kind", "warnings"), [("TYPE_1", []), ("TYPE_9", ["unknown_synergy_type"])]
)
def test_a_synergy_of_an_unknown_type_has_equal_weights_and_a_warning(
    bundle: Bundle, table: FeatureTable, kind: str, warnings: list[str]
) -> None:
    synergy = {"synergy_type": kind, "direction": 1, "confidence": 0.9}
    split = np.array([[3.0, 0.0, 0.0], [0.0, 0.0, 3.0], [3.0, 0.0, 0.0]])
    found = ask(fixed(bundle, split), request_at(table, 300, synergy_context=synergy))
    assert found["warnings"] == warnings
    scores = found["decision"]["scores"]
    weights = (0.33, 0.33) if warnings else (0.5, 0.3)
    assert scores["short"] / scores["long"] == pytest.approx(weights[1] / weights[0])


def test_counter_synergy_below_the_threshold_is_held(bundle: Bundle, table: FeatureTable) -> None:
    request = request_at(
        table,
        300,
        synergy_context={"synergy_type": "TYPE_1", "direction": -1, "confidence": 0.9},
        override_params={"execution_threshold": 0.7},
    )
    decision = ask(fixed(bundle), request)["decision"]
    assert (decision["action"], decision["side"]) == ("hold", "long")
    assert (decision["execute"], decision["reason"]) == (False, "counter_synergy")
    assert decision["execution_command"] is None


def test_threshold_temperature_and_quantity_can_be_overridden(
    bundle: Bundle, table: FeatureTable
) -> None:
    base = ask(fixed(bundle), request_at(table, 300))
    strict = request_at(table, 300, override_params={"execution_threshold": 1.0})
    assert ask(fixed(bundle), strict)["decision"]["reason"] == "below_threshold"
    warm = request_at(table, 300, override_params={"temperature": 4.0})
    expected = np.exp(1.5) / (np.exp(1.5) + 2.0)  # 3 / (0.5 x 4)
    assert ask(fixed(bundle), warm)["agent_breakdown"]["fvg"]["confidence"] == pytest.approx(
        expected
    )
    small = ask(fixed(bundle), request_at(table, 300, override_params={"base_quantity": 10.0}))
    assert base["decision"]["execution_command"]["quantity"] == 200.0
    assert small["decision"]["execution_command"]["quantity"] == 10.0


def test_a_repeat_gives_the_same_answer(decider: Decider, table: FeatureTable) -> None:
    request = request_at(table, 400)
    first = ask(decider, request)
    assert ask(decider, request) == first
    assert ask(decider, dict(reversed(request.items()))) == first
    assert len(first["decision_id"]) == 64
    assert ask(decider, request_at(table, 401))["decision_id"] != first["decision_id"]


def test_stages_over_their_budget_are_named(bundle: Bundle, table: FeatureTable) -> None:
    budgets = PerformanceConfig(
        latency_targets=LatencyTargets(
            matrix_ms=1e6, inference_ms=1e-9, aggregation_ms=1e6, total_pipeline_ms=1e-9
        )
    )
    answer = Decider(bundle, budgets).answer(json.dumps(request_at(table, 300)).encode(), FLAT)
    assert answer.breaches == ("inference", "total")
    assert answer.stages_ms[3] >= sum(answer.stages_ms[:3])


@pytest.mark.parametrize(("price", "atr"), [(0.05, 0.04), (100.0, 60.0), (1e-9, 1e-9)])
@pytest.mark.parametrize("side", [1, -1])
def test_levels_at_or_below_zero_mean_hold(
    bundle: Bundle, table: FeatureTable, price: float, atr: float, side: int
) -> None:
    request = request_at(table, 300)
    request["market_context"].update(current_price=price, atr_5min=atr)
    logits = LONG_LOGITS if side > 0 else LONG_LOGITS[:, [2, 1, 0]]
    logits = np.array([*logits[:2], LONG_LOGITS[2]])
    decision = ask(fixed(bundle, logits), request)["decision"]
    assert (decision["action"], decision["reason"]) == ("hold", "level_not_positive")
    assert decision["execution_command"] is None


@pytest.mark.parametrize(("price", "atr"), [(5e-324, 5e-324), (1e9, 5e-324), (5e-324, 1e9)])
def test_extreme_prices_get_an_answer(
    bundle: Bundle, table: FeatureTable, price: float, atr: float
) -> None:
    request = request_at(table, 300)
    request["market_context"].update(current_price=price, atr_5min=atr)
    with np.errstate(all="ignore"):
        assert ask(fixed(bundle), request)["decision"]["reason"]
