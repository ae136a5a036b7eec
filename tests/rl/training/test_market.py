"""From files of bars to what training needs."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from rllib_tactical.bundle.networks import Standardization
from rllib_tactical.config.schema import ModelConfig
from rllib_tactical.data.dataset import DataSource
from rllib_tactical.data.files import write_bars
from rllib_tactical.domain.simulation.episodes import EpisodeConfig
from rllib_tactical.domain.simulation.history import EMBARGO_BARS
from rllib_tactical.errors import ConfigError
from rllib_tactical.rl.training import market as training_market
from rllib_tactical.rl.training.market import MarketFiles, prepare_market
from tests.rl.small import small_config


def test_the_splits_are_those_of_the_configuration_an_embargo_apart(prepared):
    (part,) = prepared.parts
    train, validation, rest = part.splits
    assert (train.start, train.stop) == (EMBARGO_BARS - 1, 4_200)
    assert validation.start == 4_200 + EMBARGO_BARS
    assert (validation.stop, rest.start, rest.stop) == (5_100, 5_100 + EMBARGO_BARS, 6_000)
    described = part.source["splits"]["train"]
    times = part.history.bars.timestamp_s[[359, 4_199]].astype("datetime64[s]")
    assert described == {
        "start": 359,
        "stop": 4_200,
        "first": f"{times[0]}Z",
        "last": f"{times[1]}Z",
    }


def test_runners_replay_the_training_bars_only(prepared):
    (part,) = prepared.spec.parts
    assert part.split == prepared.parts[0].splits[0]
    assert part.history is prepared.parts[0].history


def test_the_scale_and_the_size_are_of_training_bars(bars, prepared, tmp_path):
    """Bars after the training split, three times as wild, change neither."""
    (part,) = prepared.parts
    expected = Standardization.estimate(
        part.history.inputs.gather(np.arange(part.history.first_decision, 4_200))
    )
    np.testing.assert_allclose(prepared.standardization.mean, expected.mean, atol=0.02)
    np.testing.assert_allclose(prepared.standardization.std, expected.std, rtol=0.05)

    later = part.history.bars
    change = np.arange(6_000) >= 4_200
    columns = {
        name: np.where(change, np.round(getattr(later, name) * 3, 2), getattr(later, name))
        for name in ("open", "high", "low", "close")
    }
    path = tmp_path / "wild.parquet"
    write_bars(dataclasses.replace(later, **columns), path)
    unsized = dataclasses.replace(bars.instrument, base_quantity=None)
    found, before = (
        prepare_market([DataSource(file, unsized)], small_config()) for file in (path, bars.path)
    )
    assert found.standardization == before.standardization == prepared.standardization
    size = found.parts[0].history.instrument.base_quantity
    assert size == before.parts[0].history.instrument.base_quantity
    assert f"decision bars: train 3,841, validation {900 - EMBARGO_BARS:,}" in (
        found.parts[0].summary()
    )


def test_a_network_that_nobody_registered_is_refused_before_a_file_is_read(bars):
    missing = dataclasses.replace(bars, path=bars.path.with_name("missing.csv"))
    config = dataclasses.replace(small_config(), model=ModelConfig(network="moon"))
    with pytest.raises(ConfigError, match="network must be one of conv, found 'moon'"):
        prepare_market([missing], config)


def test_windows_are_spread_over_the_training_bars_of_all_instruments(prepared, monkeypatch):
    monkeypatch.setattr(training_market, "STANDARDIZATION_WINDOWS", 100)
    (part,) = prepared.parts
    alone, one_of_two = (training_market._training_windows(part, parts) for parts in (1, 2))
    assert 100 <= len(alone) <= 105
    assert 50 <= len(one_of_two) <= 52
    np.testing.assert_array_equal(one_of_two, alone[::2][: len(one_of_two)])
    last = part.history.inputs.gather(np.array([4_199]))
    assert not (alone[-1] == last).all()
    assert (alone[0] == part.history.inputs.gather(np.array([part.history.first_decision]))).all()


def test_each_instrument_needs_a_group_of_accounts(bars):
    other = dataclasses.replace(bars.instrument, symbol="OTHER")
    sources = [bars, DataSource(bars.path, other)]
    few = small_config(num_envs=4, accounts_per_bar=4)
    with pytest.raises(ConfigError, match=r"training\.num_envs .* the 2 instruments, found 4"):
        prepare_market(sources, few)


def test_one_instrument_shares_no_places(bars):
    config = small_config(episodes=EpisodeConfig(positions=1))
    with pytest.raises(ConfigError, match=r"episodes\.positions needs .* two --data files or more"):
        prepare_market([bars], config)


def test_each_file_needs_an_instrument_of_its_own(bars):
    with pytest.raises(ConfigError, match="instrument of its own"):
        prepare_market([bars, bars], small_config())


def test_the_origin_makes_the_same_parts_from_any_folder(bars, prepared, monkeypatch, tmp_path):
    monkeypatch.chdir(bars.path.parent)
    splits, here = (0.7, 0.15, 0.15), dataclasses.replace(bars, path=Path(bars.path.name))
    events = dataclasses.replace(here, synergies="events.csv")
    (source,) = MarketFiles.of([events], 300, splits).sources
    assert (source.path, source.synergies) == (bars.path, str(bars.path.parent / "events.csv"))
    origin = MarketFiles.of([here], 300, splits)
    monkeypatch.chdir(tmp_path)
    assert origin == prepared.origin
    again = dataclasses.replace(prepared.spec, parts=origin.parts())
    assert again.digest == prepared.spec.digest
    assert str(origin) == str(bars.path)
