"""Validation by whoever does it: the same figures from the driver, from workers, after a loss."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import ray
from ray.exceptions import WorkerCrashedError

from rllib_tactical.backtest.engine import run_backtest
from rllib_tactical.backtest.metrics import compute_metrics
from rllib_tactical.backtest.together import run_together
from rllib_tactical.bundle.inference import TorchEngine, probabilities
from rllib_tactical.bundle.networks import Actor, Standardization
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.config.training import TrainingConfig, ValidationConfig
from rllib_tactical.domain.decision.actions import AGGRESSIVE, EXECUTE
from rllib_tactical.domain.decision.orders import OrderConfig
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.votes import greedy_votes
from rllib_tactical.domain.simulation.episodes import EpisodeConfig
from rllib_tactical.domain.simulation.history import split_history
from rllib_tactical.rl.training import validator
from rllib_tactical.rl.training.market import PreparedPart, TrainingMarket
from rllib_tactical.rl.training.validator import Validator
from rllib_tactical.synthetic import make_market
from rllib_tactical.synthetic.oracle import oracle_votes
from tests.actors import weights_of

pytestmark = pytest.mark.slow

SCALES = (0.02, 0.05)


def configured(workers=0):
    training = TrainingConfig(
        temperature_scales=SCALES, validation=ValidationConfig(workers=workers)
    )
    return TacticalConfig(training=training)


def part(name, seed):
    made = make_market(name, seed, 4_000)
    history = dataclasses.replace(
        made.history(), instrument=dataclasses.replace(made.instrument, symbol=name)
    )
    return PreparedPart(history, split_history(len(history), (0.4, 0.6, 0.0)), {})


@pytest.fixture(scope="module")
def market():
    parts = part("gap", 1), part("momentum", 2), part("regime", 3)
    no_spec: Any = None  # validation asks for none
    return TrainingMarket(no_spec, parts, Standardization.identity())


def actors(entry_vote):
    """Return actors that trade: fvg and momentum are of one opinion, entry always has its vote."""
    import torch

    torch.manual_seed(3)
    actor, entry = Actor((0.2,) * 7, 1.0), Actor((0.2,) * 7, 1.0)
    torch.nn.init.orthogonal_(actor.out.weight, gain=30.0)
    with torch.no_grad():
        actor.out.bias[1] = -5.0
        entry.out.weight[:] = 0.0
        entry.out.bias[entry_vote] = 9.0
    return weights_of([actor, actor, entry])


@pytest.fixture(scope="module")
def weights():
    return actors(EXECUTE)


def judge(config, market, weights, **more):
    made = Validator(config, market, **more)
    assert made.collect() is None
    made.start(7, 700, 1.5, weights)
    pending = made.pending
    found = made.collect()
    assert (pending, made.pending) == (7, None)
    return found


def test_one_instruments_figures_are_those_of_its_backtest(market, weights):
    alone = dataclasses.replace(market, parts=market.parts[:1])
    found = judge(configured(), alone, weights, stage=2, oracle="gap")
    assert (found.iteration, found.env_steps) == (7, 700)
    history, split = market.parts[0].history, market.parts[0].splits[1]
    inputs = history.inputs.gather(np.arange(split.start, split.stop))
    agent_probabilities = probabilities(
        TorchEngine(weights), inputs, found.validation.temperature_scale
    )
    result = run_backtest(
        history, greedy_votes(agent_probabilities), TacticalConfig().rules, split.start, split.stop
    )
    metrics = compute_metrics(result)
    assert found.validation.trades == metrics.number("trades")
    assert found.validation.trades > 10
    assert found.validation.net_pnl == pytest.approx(metrics.number("net_pnl"))
    assert found.validation.sharpe == pytest.approx(metrics.number("sharpe"))
    assert found.validation.trades_per_day == pytest.approx(metrics.number("trades_per_day"))
    assert (found.validation.stage, found.validation.reward) == (2, 1.5)
    assert found.validation.oracle_share is not None
    assert abs(found.validation.oracle_share) < 0.5


def test_instruments_that_share_places_are_traded_together(market, weights):
    market = dataclasses.replace(market, parts=market.parts[:2])
    alone = judge(configured(), market, weights).validation
    training = dataclasses.replace(configured().training, episodes=EpisodeConfig(positions=1))
    config = dataclasses.replace(configured(workers=3), training=training)
    found = judge(config, market, weights).validation
    results = []
    for each in market.parts:
        history, split = each.history, each.splits[1]
        inputs = history.inputs.gather(np.arange(split.start, split.stop))
        votes = greedy_votes(probabilities(TorchEngine(weights), inputs, found.temperature_scale))
        rules = TacticalConfig().rules
        results.append(run_backtest(history, votes, rules, split.start, split.stop))
    shared = run_together(results, 1)
    assert found.trades == sum(len(each.trades) for each in shared) < alone.trades
    assert found.net_pnl == pytest.approx(sum(each.net_pnl for each in shared))
    wanted = ValidationConfig(target_win_rate=0.01)
    training = dataclasses.replace(training, validation=wanted)
    choices = judge(dataclasses.replace(config, training=training), market, weights).validation
    assert choices.target is not None
    assert choices.by_scale == found.by_scale


def test_the_share_of_the_oracle_is_at_equal_size(market, weights):
    """Aggressive orders are larger: they earn or lose more, and are no better votes."""
    alone = dataclasses.replace(market, parts=market.parts[:1])
    config = dataclasses.replace(
        configured(), orders=OrderConfig(cap_execute=0.5, cap_aggressive=0.75)
    )
    larger = judge(config, alone, actors(AGGRESSIVE), oracle="gap").validation
    found = judge(config, alone, weights, oracle="gap").validation
    assert larger.net_pnl > 1.1 * found.net_pnl > 0
    assert larger.oracle_share == found.oracle_share
    history, split = market.parts[0].history, market.parts[0].splits[1]
    part = slice(split.start, split.stop)
    votes = oracle_votes("gap", history.features.raw[part], history.bars.close[part])
    orders = OrderConfig(full_size_confidence=0.01, cap_execute=1.0, cap_aggressive=1.0)
    oracle = run_backtest(history, votes, Rules(orders=orders), split.start, split.stop)
    inputs = history.inputs.gather(np.arange(split.start, split.stop))
    agent_probabilities = probabilities(TorchEngine(weights), inputs, found.temperature_scale)
    agents = run_backtest(
        history, greedy_votes(agent_probabilities), Rules(orders=orders), split.start, split.stop
    )
    assert found.oracle_share == pytest.approx(agents.net_pnl / oracle.net_pnl)


def test_without_validation_bars_there_is_nothing_to_judge(market, weights):
    empty = dataclasses.replace(
        market.parts[0], splits=split_history(len(market.parts[0].history), (1.0, 0.0, 0.0))
    )
    made = Validator(configured(), dataclasses.replace(market, parts=(empty,)))
    made.start(1, 1, None, weights)
    assert made.collect() is None


@pytest.mark.ray
def test_workers_find_what_the_driver_finds(market, weights, ray_instance):
    """Three instruments on two workers; then a worker is lost, and the driver steps in."""
    expected = judge(configured(), market, weights)
    assert expected.validation.trades > 30
    assert judge(configured(workers=2), market, weights) == expected
    assert judge(configured(workers=9), market, weights) == expected


@pytest.mark.ray
def test_when_workers_are_lost_the_driver_judges(market, weights, ray_instance, monkeypatch):
    def lost(references, timeout):
        raise WorkerCrashedError

    made = Validator(configured(workers=1), market)
    made.start(7, 700, 1.5, weights)
    monkeypatch.setattr(ray, "get", lost)
    assert made.collect() == judge(configured(), market, weights)


@pytest.mark.ray
def test_workers_that_find_no_cpu_are_not_waited_for_ever(
    market, weights, ray_instance, monkeypatch
):
    class Holder:
        def ready(self):
            return True

    expected = judge(configured(), market, weights)
    monkeypatch.setattr(validator, "WORKERS_TIMEOUT_S", 0.2)
    holder = ray.remote(num_cpus=2)(Holder).remote()
    try:
        assert ray.get(holder.ready.remote())
        made = Validator(configured(workers=1), market)
        made.start(7, 700, 1.5, weights)
        assert made.collect() == expected
    finally:
        ray.kill(holder)

    def asked_again(references, timeout):
        raise AssertionError

    monkeypatch.setattr(ray, "get", asked_again)
    made.start(7, 700, 1.5, weights)
    assert made.collect() == expected
