"""Environment, backtest and service decide alike, bit for bit, on the same bars."""

import json

import numpy as np
import pytest
import torch

from envs.market import MarketPart, MarketSpec
from envs.parallel import TacticalParallelEnv
from rllib_tactical.backtest.engine import bundle_votes, run_backtest
from rllib_tactical.bundle import export_bundle
from rllib_tactical.config import PerformanceConfig
from rllib_tactical.demo import decide_request
from rllib_tactical.domain.features import FeatureStream
from rllib_tactical.domain.pipeline import Rules
from rllib_tactical.domain.replay import EpisodeConfig
from rllib_tactical.domain.rewards import RewardConfig
from rllib_tactical.domain.risk import AccountView
from rllib_tactical.domain.tape import Split
from rllib_tactical.domain.types import AGENTS
from rllib_tactical.networks import Actor, actor_weights
from serve.decider import Decider
from tests.market import INSTRUMENT, random_tape

TAPE = random_tape(1_400, seed=3)
START, STOP = TAPE.first_decision, 1_300


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A bundle of untrained actors with strong opinions, so that many bars trade."""
    torch.manual_seed(4)
    weights = {}
    for i, agent in enumerate(AGENTS):
        actor = Actor((1.0,) * 7, 1.0)
        torch.nn.init.normal_(actor.out.weight, std=3.0)
        if i == 2:  # an entry agent that waits would leave nothing to compare
            torch.nn.init.constant_(actor.out.bias, -20.0)
            actor.out.bias.data[1] = 20.0
        weights |= actor_weights(agent, actor)
    return export_bundle(
        tmp_path_factory.mktemp("bundle") / "b",
        weights=weights,
        rules=Rules(),
        instrument=INSTRUMENT,
        bar_seconds=300,
        temperature_scale=0.125,
        training={},
        metrics={},
    )


@pytest.fixture(scope="module")
def backtest(bundle):
    votes = bundle_votes(bundle, TAPE, np.arange(START, STOP))
    return votes, run_backtest(TAPE, votes, bundle.rules, START, STOP)


@pytest.fixture(scope="module")
def replayed(bundle, backtest):
    """Every bar as the environment sees it, driven with the same votes."""
    votes, _ = backtest
    spec = MarketSpec(
        parts=(MarketPart(TAPE, Split("all", START, STOP)),),
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
    assert [info["reason"] for info in after] == decisions["reason"].tolist()
    assert [info["confidence"] for info in after] == decisions["score"].tolist()
    assert [info["quantity"] for info in after] == decisions["quantity"].tolist()
    assert [info["equity"] for info in after] == result.equity["equity"].tolist()[1:]
    traded = [info["trade_pnl"] for info in after if info["exited"]]
    assert traded == result.trades["pnl"].tolist()[: len(traded)]
    assert [info["reward_base"] for info in after] == result.base.tolist()


def test_service_equals_backtest(bundle, backtest, replayed):
    """The JSON of every window, answered with the account as it stood, gives the same decision."""
    _, result = backtest
    before, _ = replayed
    now = {}

    def account():
        info = now["info"]
        return AccountView(
            equity=np.array([info["equity"]]),
            session_peak=np.array([info["session_peak"]]),
            position_side=np.array([info["position_side"]]),
            position_quantity=np.array([info["position_quantity"]]),
            halted=np.array([info["halted"]]),
            tradable=~TAPE.sessions.is_last[[info["t"]]],
        )

    decider = Decider(bundle, PerformanceConfig(), account)
    for row, decision in enumerate(result.decisions.itertuples()):
        now["info"] = before[row]
        body = json.dumps(decide_request(TAPE, START + row)).encode()
        answer = decider.answer(body).body
        found = answer["decision"]
        assert answer["source"] == "policy"
        assert found["action"] == decision.action
        assert found["reason"] == decision.reason
        assert found["confidence"] == decision.score
        order = found["execution_command"]
        if decision.execute:
            assert order["quantity"] == decision.quantity
            if not decision.closes:
                assert order["stop_loss"] == decision.stop
                assert order["take_profit"] == decision.target
        else:
            assert order is None


def test_streamed_bars_give_the_same_matrix(backtest):
    """Bars pushed one at a time, as a live feed would, end in the matrix that was decided on."""
    stream = FeatureStream()
    bars, table = TAPE.bars, TAPE.features
    for t in range(STOP):
        columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
        stream.push(*(float(column[t]) for column in columns))
        if t >= START:
            np.testing.assert_array_equal(stream.matrix(), table.raw[t - 59 : t + 1])
            assert stream.atr == table.atr[t]
            assert stream.close == table.close[t]
