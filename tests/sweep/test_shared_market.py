"""Bars travel to a node once, whatever the trials of a sweep change."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path

import pytest
from ray import cloudpickle

from rllib_tactical.bench.object_store import bytes_created
from rllib_tactical.config.loader import from_dict
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.data.dataset import DataSource
from rllib_tactical.data.files import write_bars
from rllib_tactical.errors import ConfigError
from rllib_tactical.rl.sampling.market_ref import MarketHandle
from rllib_tactical.rl.training.market import TrainingMarket, prepare_market
from rllib_tactical.sweep.shared_market import SharedMarket
from rllib_tactical.sweep.spec import load_sweep
from rllib_tactical.synthetic import make_market
from tests.sweep.conftest import TRAINING, Call, sweep_file


@pytest.fixture(scope="module")
def config() -> TacticalConfig:
    return from_dict(TacticalConfig, {"training": TRAINING}, "test")


@pytest.fixture(scope="module")
def prepared(bars: Path, config: TacticalConfig) -> TrainingMarket:
    instrument = make_market("momentum", 1, 1_000, 0.0).instrument
    return prepare_market([DataSource(bars, instrument)], config)


@pytest.mark.ray
def test_the_market_of_a_trial_refers_to_the_same_bars(
    prepared: TrainingMarket, config: TacticalConfig, ray_instance: None
) -> None:
    before = bytes_created()
    shared = SharedMarket.share(prepared)
    size = len(pickle.dumps(prepared.spec.parts))
    put = bytes_created() - before
    assert size * 0.9 < put < size * 1.2
    sent = cloudpickle.loads(cloudpickle.dumps(shared))  # as a trial gets it
    assert len(cloudpickle.dumps(shared)) < 20_000
    for weight in (0.0, 0.1):
        rewards = dataclasses.replace(config.rewards, synergy_bonus=weight)
        trial = dataclasses.replace(config, rewards=rewards)
        market = sent.market(trial)
        assert market.spec.rewards.synergy_bonus == weight
        assert market.spec.rules == trial.rules
        assert market.parts[0].splits == prepared.parts[0].splits
        assert market.parts[0].history is market.spec.parts[0].history
        # what the training loop does with it
        again = MarketHandle(market.spec).open()
        assert again.parts is market.spec.parts
        assert again.rewards.synergy_bonus == weight
    assert bytes_created() - before == put, "bars were copied once more"


@pytest.mark.ray
def test_a_trial_with_fewer_groups_of_accounts_than_instruments_is_refused(
    prepared: TrainingMarket, config: TacticalConfig, ray_instance: None
) -> None:
    spec = dataclasses.replace(prepared.spec, parts=prepared.spec.parts * 2)
    shared = SharedMarket.share(TrainingMarket(spec, prepared.parts * 2, prepared.standardization))
    training = dataclasses.replace(config.training, num_envs=4, accounts_per_bar=4)
    with pytest.raises(ConfigError, match=r"training\.num_envs"):
        shared.market(dataclasses.replace(config, training=training))


@pytest.mark.ray
def test_the_trials_of_a_sweep_share_one_copy_of_the_bars(
    tmp_path: Path, call: Call, ray_instance: None
) -> None:
    made = make_market("momentum", 1, 80_000, 0.0)
    write_bars(made.bars, tmp_path / "SYNTH.parquet")
    file = sweep_file(
        tmp_path / "s.yaml",
        {"rewards.synergy_bonus": {"choice": [0.0, 0.2]}},
        search="grid",
        samples=1,
        training={"iterations": 1, "splits": [0.97, 0.015, 0.015]},
    )
    config = load_sweep(file).config
    size = len(
        pickle.dumps(
            prepare_market([DataSource(tmp_path / "SYNTH.parquet", made.instrument)], config).spec
        )
    )
    before = bytes_created()
    code, _, err = call(
        "tune", "--sweep", file, "--data", tmp_path / "SYNTH.parquet", "--out", tmp_path / "out"
    )
    assert code == 0, err
    # besides the bars, RLlib puts each iteration's weights (3.6 MB) into the store
    weights = 2 * 3.7e6
    assert size < bytes_created() - before < 1.2 * size + weights
