"""Environment, backtest and service decide alike, bit for bit, on the same bars."""

import json
from collections import defaultdict

import msgspec
import numpy as np
import pytest
import torch

from envs.market import MarketPart, MarketSpec
from envs.parallel import TacticalParallelEnv
from rllib_tactical.backtest.engine import bundle_votes, run_backtest
from rllib_tactical.bundle.bundle import export_bundle
from rllib_tactical.bundle.networks import Actor
from rllib_tactical.cli.demo import decide_request
from rllib_tactical.config.service import PerformanceConfig, ServiceConfig
from rllib_tactical.data.calendar.sessions import sessions_of
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.features.table import FeatureStream
from rllib_tactical.domain.simulation.episodes import EpisodeConfig
from rllib_tactical.domain.simulation.history import Split, build_history
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.types import AGENTS, Reason
from serve.api.write_requests import BarInput, BarsRequest, FillInput, FillsRequest
from serve.decision.decider import Decider
from serve.decision.risk_state import RiskState
from serve.state.machine import StateMachine
from serve.state.records import model_record
from tests.actors import weights_of
from tests.market import INSTRUMENT, random_bars

pytestmark = pytest.mark.slow

BARS = random_bars(1_400, seed=3)
HISTORY = build_history(BARS, sessions_of(BARS, INSTRUMENT), INSTRUMENT)
START, STOP = HISTORY.first_decision, 1_300


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A bundle of untrained actors with strong opinions, so that many bars trade."""
    torch.manual_seed(4)
    actors = []
    for agent in AGENTS:
        actor = Actor((1.0,) * 7, 1.0)
        torch.nn.init.normal_(actor.out.weight, std=3.0)
        if agent == "entry":  # an entry agent that waits would leave nothing to compare
            torch.nn.init.constant_(actor.out.bias, -20.0)
            actor.out.bias.data[1] = 20.0
        actors.append(actor)
    return export_bundle(
        tmp_path_factory.mktemp("bundle") / "b",
        weights=weights_of(actors),
        rules=Rules(),
        instrument=INSTRUMENT,
        bar_seconds=300,
        temperature_scale=0.125,
        training={},
        metrics={},
    )


@pytest.fixture(scope="module")
def backtest(bundle):
    votes = bundle_votes(bundle, HISTORY, np.arange(START, STOP))
    return votes, run_backtest(HISTORY, votes, bundle.rules, START, STOP)


@pytest.fixture(scope="module")
def replayed(bundle, backtest):
    """Every bar as the environment sees it, driven with the same votes."""
    votes, _ = backtest
    spec = MarketSpec(
        parts=(MarketPart(HISTORY, Split("all", START, STOP)),),
        rules=bundle.rules,
        rewards=RewardConfig(),
        # one episode that fills the range, so that it starts where the backtest does
        episodes=EpisodeConfig(length=STOP - 1 - START),
        train_confidence=0.9,
    )
    env = TacticalParallelEnv(spec, seed=0)
    _, infos = env.reset()
    assert infos["fvg"]["t"] == START
    before, after = [], []
    for row in range(STOP - 1 - START):
        before.append(infos["fvg"])
        _, rewards, _, _, infos = env.step(
            {agent: int(votes.index[row, i]) for i, agent in enumerate(AGENTS)},
            {agent: float(votes.confidence[row, i]) for i, agent in enumerate(AGENTS)},
        )
        after.append(infos["fvg"] | {"rewards": rewards})
    return before, after


def test_there_is_something_to_compare(backtest):
    _, result = backtest
    assert len(result.trades) > 20
    assert set(result.decisions["action"]) == {"long", "short", "hold"}


def test_environment_equals_backtest(backtest, replayed):
    _, result = backtest
    _, after = replayed
    names = {1: "long", 0: "hold", -1: "short"}
    decisions = result.decisions
    assert [names[info["action"]] for info in after] == decisions["action"].tolist()
    assert [Reason(info["reason"]).code for info in after] == decisions["reason"].tolist()
    assert [info["confidence"] for info in after] == decisions["score"].tolist()
    assert [info["quantity"] for info in after] == decisions["quantity"].tolist()
    assert [info["equity"] for info in after] == result.equity["equity"].tolist()[1:]
    traded = [info["trade_pnl"] for info in after if info["exited"]]
    assert traded == result.trades["pnl"].tolist()[: len(traded)]
    assert [info["reward_base"] for info in after] == result.base.tolist()


def fills_by_bar(trades):
    """What a broker would report of the backtest's trades: (order within the bar, side, ...)."""
    fills = defaultdict(list)
    for trade in trades.itertuples():
        side = 1 if trade.side == "long" else -1
        same_bar = trade.entry_bar == trade.exit_bar
        fills[trade.entry_bar].append((1, side, trade.quantity, trade.entry_price))
        if trade.exit_reason != "end_of_data":
            last = (2 if same_bar else 0, -side, trade.quantity, trade.exit_price)
            fills[trade.exit_bar].append(last)
    return {bar: sorted(found) for bar, found in fills.items()}


def bar_input(t):
    bars = HISTORY.bars
    row = (float(getattr(bars, name)[t]) for name in ("open", "high", "low", "close", "volume"))
    return BarInput(int(bars.timestamp_s[t]), *row)


def test_service_equals_backtest(bundle, backtest, replayed):
    """Bars and fills as they come in: every decision by symbol is the backtest's, and so is the
    account; the JSON of the window gives the same one."""
    _, result = backtest
    before, _ = replayed
    fills = fills_by_bar(result.trades)
    machine, decider = StateMachine(model_record(bundle)), Decider(bundle, PerformanceConfig())
    decisions = list(result.decisions.itertuples())
    executed = 0
    for t in range(START + len(decisions)):
        now_s = float(HISTORY.bars.timestamp_s[t]) + 300.0
        for n, (_, side, quantity, price) in enumerate(fills.get(t, ())):
            given = FillInput(
                f"{t}-{n}", "BUY" if side > 0 else "SELL", float(quantity), float(price), int(now_s)
            )
            fill, _ = machine.check_fills(FillsRequest(INSTRUMENT.symbol, [given]), now_s)
            assert fill is not None
            machine.apply(fill)
        bar, _ = machine.check_bars(BarsRequest(INSTRUMENT.symbol, [bar_input(t)]), now_s)
        assert bar is not None
        machine.apply(bar)
        if t < START:
            continue
        decision, state = decisions[t - START], RiskState.of(machine.snapshot(), ServiceConfig())
        if t - START < len(before):
            info = before[t - START]
            assert state.account.equity == info["equity"]
            assert state.account.session_peak == info["session_peak"]
            assert state.account.side * state.account.quantity == (
                info["position_side"] * info["position_quantity"]
            )
            assert state.account.halted == info["halted"]
        whole = decide_request(HISTORY, t)
        by_symbol = {"symbol": INSTRUMENT.symbol}
        alone = decider.answer(json.dumps(by_symbol).encode(), state, now_s=now_s).answer
        by_symbol["synergy_context"] = whole["synergy_context"]
        answer = decider.answer(json.dumps(by_symbol).encode(), state, now_s=now_s).answer
        assert alone.decision.scores == answer.decision.scores
        assert alone.decision.reason == answer.decision.reason
        found, order = answer.decision, answer.decision.execution_command
        if state.account.halted and state.account.side:
            # the simulator closes at the next open by itself, a broker has to be told
            assert found.reason == "session_halted"
            assert order is not None
            assert order.quantity == state.account.quantity
            continue
        assert answer.source == "policy"
        assert found.action == decision.action
        assert found.reason == decision.reason
        assert found.confidence == decision.score
        if decision.execute:
            executed += 1
            assert order is not None
            assert order.quantity == decision.quantity
            if not decision.closes:
                assert order.stop_loss == decision.stop
                assert order.take_profit == decision.target
        else:
            assert order is None
        if not HISTORY.sessions.is_last[t]:  # which a matrix does not tell
            by_matrix = decider.answer(json.dumps(whole).encode(), state, now_s=now_s).answer
            assert msgspec.structs.replace(by_matrix, timing=answer.timing) == answer
    assert executed > 20


def test_streamed_bars_give_the_same_matrix(backtest):
    """Bars pushed one at a time, as a live feed would, end in the matrix that was decided on."""
    stream = FeatureStream()
    bars, table = HISTORY.bars, HISTORY.features
    for t in range(STOP):
        columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
        stream.push(*(float(column[t]) for column in columns))
        if t >= START:
            np.testing.assert_array_equal(stream.matrix(), table.raw[t - 59 : t + 1])
            assert stream.atr == table.atr[t]
            assert stream.close == table.close[t]
