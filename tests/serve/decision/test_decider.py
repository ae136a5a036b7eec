"""The answer equals what the domain computes, and a repeat gives the same answer."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.bundle.inference import probabilities
from rllib_tactical.config.service import LatencyTargets, PerformanceConfig, ServiceConfig
from rllib_tactical.domain.decision.actions import ACTION_NAMES, LABELS
from rllib_tactical.domain.decision.override import Control
from rllib_tactical.domain.decision.pipeline import Decision, MarketSnapshot, decide
from rllib_tactical.domain.decision.risk import AccountView
from rllib_tactical.domain.decision.rule_policy import rule_votes
from rllib_tactical.domain.decision.votes import greedy_votes
from rllib_tactical.domain.features.synergy import Synergy
from rllib_tactical.domain.features.table import FeatureTable, InputViews, network_input
from rllib_tactical.domain.simulation.account import Account
from rllib_tactical.domain.types import AGENTS, WINDOW, Float32Array, FloatArray, Reason
from serve.api.decide_request import read_request
from serve.api.errors import RequestError
from serve.decision.decider import STAGES, Decider
from serve.decision.risk_state import RiskState
from serve.state.bars import BufferState
from tests.serve.conftest import request_at

BARS = np.arange(310, 600)


class FixedEngine:
    """Returns the same logits (3, 3) for any input."""

    name = "fixed"

    def __init__(self, logits: FloatArray) -> None:
        self._logits = logits.astype(np.float32)

    def logits(self, inputs: Float32Array) -> Float32Array:
        return np.repeat(self._logits[None], len(inputs), axis=0)


class BrokenEngine:
    name = "broken"

    def logits(self, inputs: Float32Array) -> Float32Array:
        raise RuntimeError("out of memory")


LONG_LOGITS = np.array([[3.0, 0.0, 0.0], [3.0, 0.0, 0.0], [0.0, 3.0, 0.0]])


@pytest.fixture(scope="module")
def decider(bundle: Bundle) -> Decider:
    made = Decider(bundle, PerformanceConfig())
    made.warm_up()
    return made


def fixed(bundle: Bundle, logits: FloatArray = LONG_LOGITS, **more: Any) -> Decider:
    return Decider(bundle, PerformanceConfig(), engine=FixedEngine(logits), **more)


FLAT = RiskState(Account.opened(100_000.0))


def ask(
    decider: Decider, request: dict[str, Any], state: RiskState = FLAT, **more: Any
) -> dict[str, Any]:
    decided = decider.answer(json.dumps(request).encode(), state, **more)
    body: dict[str, Any] = msgspec.to_builtins(decided.answer)
    timing = body.pop("timing")
    assert list(timing) == [f"{stage}_ms" for stage in STAGES]
    return body


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


@pytest.mark.parametrize(("direction", "factor", "aligned"), [(1, 1.0, True), (-1, 0.7, False)])
def test_synergy_aligned_and_counter(
    bundle: Bundle, table: FeatureTable, direction: int, factor: float, aligned: bool
) -> None:
    synergy = {"synergy_type": "TYPE_1", "direction": direction, "confidence": 0.9}
    decision = ask(fixed(bundle), request_at(table, 300, synergy_context=synergy))["decision"]
    chosen = np.exp(6.0) / (np.exp(6.0) + 2.0)
    assert decision["confidence"] == pytest.approx(chosen * factor)
    assert decision["execution_command"]["metadata"]["synergy_aligned"] is aligned


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


def test_sampling_is_seeded_by_the_request_or_by_seed(bundle: Bundle, table: FeatureTable) -> None:
    flat = fixed(bundle, np.zeros((3, 3)))

    def sampled(t: int, **more: Any) -> tuple[int, ...]:
        request = request_at(table, t, override_params={"mode": "sample", **more})
        body = ask(flat, request)
        assert ask(flat, request) == body
        return tuple(body["agent_breakdown"][agent]["index"] for agent in AGENTS)

    draws = [sampled(t) for t in range(300, 360)]
    assert len(set(draws)) > 10  # 27 are possible
    assert sampled(300, seed=1) == sampled(310, seed=1)
    assert len({sampled(300, seed=seed) for seed in range(30)}) > 5


def holding(side: int, **more: Any) -> RiskState:
    """Return the state of an account with seven lots entered at the market's price."""
    account = replace(
        Account.opened(100_000.0), side=side, quantity=7.0 * abs(side), entry_price=100.0
    )
    halted = more.pop("halted", False)
    return RiskState(replace(account, halted=halted), **more)


@pytest.fixture
def at_100(table: FeatureTable) -> dict[str, Any]:
    request = request_at(table, 300)
    request["market_context"].update(current_price=100.0, atr_5min=0.5)
    return request


def test_the_account_decides_with_the_votes(bundle: Bundle, at_100: dict[str, Any]) -> None:
    long = fixed(bundle)
    base = ask(long, at_100)
    same = ask(long, at_100, holding(1))
    assert same["decision"]["reason"] == "already_positioned"
    assert same["decision_id"] != base["decision_id"]
    halted = ask(long, at_100, holding(0, halted=True))
    assert (halted["decision"]["action"], halted["decision"]["reason"]) == (
        "hold",
        "session_halted",
    )
    closing = ask(long, at_100, holding(-1))["decision"]
    assert closing["reason"] == "close_opposite"
    assert closing["execution_command"]["quantity"] == 7.0
    assert closing["execution_command"]["stop_loss"] is None


def test_a_halt_closes_what_is_held(bundle: Bundle, at_100: dict[str, Any]) -> None:
    found = ask(fixed(bundle), at_100, holding(1, halted=True))
    command = found["decision"]["execution_command"]
    assert (found["source"], found["decision"]["reason"]) == ("policy", "session_halted")
    assert (command["side"], command["quantity"], command["stop_loss"]) == ("SELL", 7.0, None)
    # 7 lots lose 2% of equity at a price of 100 - 2,000 / 7, whatever was marked before
    at_100["market_context"]["current_price"] = 1.0
    large = RiskState(replace(holding(1).account, quantity=7_000.0))
    assert ask(fixed(bundle), at_100, large)["decision"]["reason"] == "session_halted"


@pytest.mark.parametrize(
    ("control", "reason"),
    [
        (Control.PAUSE, "paused"),
        (Control.FORCE_HOLD, "forced_hold"),
        (Control.FLATTEN, "flatten"),
    ],
)
def test_an_operators_order_stands_above_the_votes(
    bundle: Bundle, at_100: dict[str, Any], control: Control, reason: str
) -> None:
    base = ask(fixed(bundle), at_100)
    flat = ask(fixed(bundle), at_100, holding(0, control=control))
    assert (flat["source"], flat["decision"]["reason"]) == ("override", reason)
    assert (flat["decision"]["action"], flat["decision"]["execution_command"]) == ("hold", None)
    assert flat["decision"]["side"] == base["decision"]["side"] == "long"
    assert flat["agent_breakdown"] == base["agent_breakdown"]
    held = ask(fixed(bundle), at_100, holding(-1, control=control))["decision"]
    if control is Control.FLATTEN:
        command = held["execution_command"]
        assert (command["side"], command["quantity"]) == ("BUY", 7.0)
        assert command["metadata"]["source"] == "override"
    else:
        assert held["execution_command"] is None


def test_a_state_that_may_be_old_means_hold(bundle: Bundle, at_100: dict[str, Any]) -> None:
    lost = Reason.STATE_UNAVAILABLE
    found = ask(fixed(bundle), at_100, hold=lost)
    decision = found["decision"]
    assert (decision["action"], decision["reason"]) == ("hold", "state_unavailable")
    assert decision["execution_command"] is None
    assert found["decision_id"] != ask(fixed(bundle), at_100)["decision_id"]
    flatten = ask(fixed(bundle), at_100, holding(1, control=Control.FLATTEN), hold=lost)
    assert flatten["decision"]["reason"] == "state_unavailable"
    loading = ask(fixed(bundle), at_100, hold=Reason.MODEL_LOADING)["decision"]
    assert (loading["action"], loading["reason"]) == ("hold", "model_loading")


def test_a_decision_by_symbol_equals_the_one_by_matrix(bundle: Bundle, table: FeatureTable) -> None:
    market = market_of(table, 400)
    state = RiskState(Account.opened(100_000.0), market=market)
    decider = Decider(bundle, PerformanceConfig())
    now_s = market.last_s + 300.0
    for request in ({"symbol": "TEST"}, {"market_context": {"symbol": "TEST"}}):
        by_symbol = ask(decider, request, state, now_s=now_s)
        assert by_symbol == ask(decider, request_at(table, 400), state)


def test_a_decision_by_symbol_has_the_synergy_of_its_bars(
    bundle: Bundle, table: FeatureTable
) -> None:
    against = market_of(table, 400, synergy=Synergy(1, -1, 0.5))
    state = RiskState(Account.opened(100_000.0), market=against)
    now_s = against.last_s + 300.0
    context = {
        "synergy_type": "TYPE_1", "direction": -1, "confidence": 0.5, "event_id": "e",
        "timestamp": 1.0,
    }  # fmt: skip
    asked = {"symbol": "TEST"}
    found = ask(fixed(bundle), asked, state, now_s=now_s)
    told = ask(fixed(bundle), request_at(table, 400, synergy_context=context))
    assert found["decision"]["scores"] == told["decision"]["scores"]
    assert found["decision"]["confidence"] == told["decision"]["confidence"]
    alone = ask(fixed(bundle), asked, replaced(state, market_of(table, 400)), now_s=now_s)
    assert found["decision"]["confidence"] < alone["decision"]["confidence"]
    assert found["decision_id"] != alone["decision_id"]
    # the request's own synergy counts, and none for a policy that was trained without
    own = asked | {"synergy_context": context | {"direction": 1}}
    assert ask(fixed(bundle), own, state, now_s=now_s) == ask(
        fixed(bundle), own, replaced(state, market_of(table, 400)), now_s=now_s
    )
    for synergies in ("none", "0" * 64):
        training = {"data": {"synergies": synergies}}
        without = replace(bundle, manifest=bundle.manifest | {"training": training})
        assert ask(fixed(without), asked, state, now_s=now_s) == alone


def replaced(state: RiskState, market: BufferState) -> RiskState:
    return RiskState(state.account, market=market)


def market_of(table: FeatureTable, t: int, **changes: Any) -> BufferState:
    values: dict[str, Any] = {
        "matrix": table.raw[t - WINDOW + 1 : t + 1].tobytes(),
        "price": float(table.close[t]),
        "atr": float(table.atr[t]),
        "last_s": 300 * t,
        "arrived_s": 0.0,
        "bars": t + 1,
        "tradable": True,
        "bars_since_gap": None,
        "due_s": 300.0 * t + 600.0,
        **changes,
    }
    return BufferState(**values)


@pytest.mark.parametrize(
    ("changes", "later_s", "reason", "by_matrix"),
    [
        ({}, 900.0, "execute", "execute"),  # closed, then one bar, then as long as is allowed
        ({}, 901.0, "data_stale", "execute"),
        ({"bars_since_gap": 4}, 0.0, "data_gap", "execute"),
        ({"bars_since_gap": 5}, 0.0, "execute", "execute"),
        ({"tradable": False}, 0.0, "session_closed", "execute"),
        ({"tradable": False, "bars_since_gap": 4}, 0.0, "data_gap", "execute"),
        ({"tradable": False}, 901.0, "data_stale", "execute"),
        ({"tradable": False, "due_s": 3e6}, 901.0, "session_closed", "execute"),
    ],
)
def test_bars_that_cannot_be_trusted_mean_hold(
    bundle: Bundle,
    table: FeatureTable,
    changes: dict[str, Any],
    later_s: float,
    reason: str,
    by_matrix: str,
) -> None:
    """A matrix is the caller's to vouch for, and the clock tells whether the market is open."""
    market = market_of(table, 400, **changes)
    state = RiskState(Account.opened(100_000.0), market=market)
    found = ask(fixed(bundle), {"symbol": "TEST"}, state, now_s=market.last_s + later_s)
    assert found["decision"]["reason"] == reason
    found = ask(fixed(bundle), request_at(table, 400), state, now_s=market.last_s + later_s)
    assert found["decision"]["reason"] == by_matrix


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        ("2024-11-29T14:30:00", "session_closed"),  # opens with this second
        ("2024-11-29T14:30:01", "execute"),
        ("2024-11-29T17:59:59", "execute"),
        ("2024-11-29T18:00:00", "session_closed"),  # 13:00 in New York, a half day
        ("2024-11-29T20:00:00", "session_closed"),
        ("2024-11-30T16:00:00", "session_closed"),  # Saturday
        ("2024-12-25T16:00:00", "session_closed"),
        ("2024-12-26T16:00:00", "execute"),
        ("2300-01-03T16:00:00", "session_closed"),  # beyond the calendar
    ],
)
def test_the_clock_tells_whether_the_market_is_open(
    bundle: Bundle, table: FeatureTable, at_100: dict[str, Any], now: str, reason: str
) -> None:
    """Whatever bars came: none, or one that a feed sent after the close."""
    stock = replace(bundle.instrument, calendar="XNYS", timezone="America/New_York")
    decider = fixed(replace(bundle, instrument=stock))
    now_s = float(np.datetime64(now, "s").astype(np.int64))
    assert ask(decider, at_100, now_s=now_s)["decision"]["reason"] == reason
    account = Account.opened(100_000.0)
    for tradable in (True, False):
        late = market_of(table, 400, tradable=tradable, last_s=int(now_s) - 300, due_s=now_s + 300)
        state = RiskState(account, market=late)
        assert ask(decider, at_100, state, now_s=now_s)["decision"]["reason"] == reason
        # in a replay the end of the bar is the clock
        replayed = RiskState(account, market=late, service=ServiceConfig(live_bars=False))
        found = ask(decider, at_100, replayed, now_s=now_s)["decision"]["reason"]
        assert found == ("execute" if tradable else "session_closed")


def test_replayed_bars_are_as_old_as_their_arrival(bundle: Bundle, table: FeatureTable) -> None:
    service = ServiceConfig(live_bars=False)
    market = market_of(table, 400, arrived_s=1e9)
    state = RiskState(Account.opened(100_000.0), market=market, service=service)
    decider = fixed(bundle)
    for later_s, reason in ((600.0, "execute"), (601.0, "data_stale")):
        found = ask(decider, {"symbol": "TEST"}, state, now_s=1e9 + later_s)
        assert found["decision"]["reason"] == reason


def test_too_few_bars_are_no_decision(bundle: Bundle, table: FeatureTable) -> None:
    for state in (
        FLAT,
        RiskState(Account.opened(1e5), market=market_of(table, 358)),
        RiskState(Account.opened(1e5), market=market_of(table, 358, matrix=b"", bars=9)),
    ):
        with pytest.raises(RequestError, match="360 bars have to be sent") as caught:
            ask(fixed(bundle), {"symbol": "TEST"}, state)
        assert (caught.value.status, caught.value.field) == (409, "matrix_state")


@pytest.mark.parametrize("engine", [BrokenEngine(), FixedEngine(np.full((3, 3), np.nan))])
def test_rule_based_votes_answer_when_the_actors_fail(
    bundle: Bundle, table: FeatureTable, engine: Any
) -> None:
    failing = Decider(bundle, PerformanceConfig(), engine=engine)
    decided = failing.answer(json.dumps(request_at(table, 300)).encode(), FLAT)
    votes = rule_votes(table.raw[300:301], table.close[300:301])
    assert decided.fallback
    assert decided.answer.source == "fallback"
    for i, agent in enumerate(AGENTS):
        part = getattr(decided.answer.agent_breakdown, agent)
        assert (part.action, part.index, part.confidence) == (
            votes.signed[0, i],
            votes.index[0, i],
            votes.confidence[0, i],
        )
        assert part.probabilities is None


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
