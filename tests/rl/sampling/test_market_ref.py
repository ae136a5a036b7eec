"""Bars travel to a process once and are opened there once."""

import copy
import dataclasses
import gc
import itertools

import pytest
import ray
from ray import cloudpickle

from rllib_tactical.data.dataset import DataSource
from rllib_tactical.data.files import write_bars
from rllib_tactical.errors import TrainingError
from rllib_tactical.rl.sampling import market_ref
from rllib_tactical.rl.sampling.market_ref import MarketHandle
from rllib_tactical.rl.training.market import MarketFiles, prepare_market
from rllib_tactical.synthetic import make_market
from tests.market import random_spec
from tests.rl.small import small_config

pytestmark = pytest.mark.ray
SEEDS = itertools.count(1)  # a market that one test has made is here for the next one


def test_market_travels_by_reference(prepared, ray_instance):
    handle = MarketHandle(prepared.spec)
    assert len(ray.cloudpickle.dumps(handle)) < 2_000
    opened = ray.get(ray.remote(lambda h: len(h.open().parts[0].history)).remote(handle))
    assert opened == len(prepared.parts[0].history)


def test_a_handle_opens_its_market_once(prepared, ray_instance):
    handle = cloudpickle.loads(cloudpickle.dumps(MarketHandle(prepared.spec)))
    market = handle.open()
    assert handle.open() is market
    assert not market.parts[0].history.bars.close.flags.writeable  # a view of shared memory
    assert market.rules == prepared.spec.rules
    assert len(market_ref._specs) == 1


def test_other_settings_refer_to_the_same_bars(ray_instance):
    spec = random_spec()
    first = MarketHandle(spec).open()
    rewards = dataclasses.replace(spec.rewards, synergy_bonus=0.5)
    second = MarketHandle(dataclasses.replace(first, rewards=rewards))
    opened = cloudpickle.loads(cloudpickle.dumps(second)).open()
    assert opened.rewards.synergy_bonus == 0.5
    assert opened.parts is first.parts


def test_copies_of_the_configuration_hold_the_same_handle(ray_instance):
    handle = MarketHandle(random_spec())
    assert copy.deepcopy({"market": handle})["market"] is handle


def of_a_dead_session(handle):
    """Return the handle as a checkpoint of another Ray session has it."""
    copy_ = cloudpickle.loads(cloudpickle.dumps(handle))
    # its number may be that of any object now
    copy_._place = dataclasses.replace(
        copy_._place, job="other/01000000", reference=cloudpickle.dumps(ray.put("no market"))
    )
    return copy_


@pytest.fixture
def origin(tmp_path):
    """A market of a file, with a handle that nobody else holds."""
    path = tmp_path / "bars.parquet"
    write_bars(make_market("gap", next(SEEDS), 3_000, 0.0).bars, path)
    source = DataSource.of(path, "SYNTH")
    spec = prepare_market([source], small_config()).spec
    return spec, MarketFiles.of([source], 300, small_config().training.splits)


def test_a_handle_of_another_session_takes_the_market_that_is_here(ray_instance):
    spec = random_spec(seed=7)
    here = MarketHandle(spec)
    dead = of_a_dead_session(MarketHandle(dataclasses.replace(spec, train_confidence=0.5)))
    opened = dead.open()
    assert opened.train_confidence == 0.5
    assert opened.parts is here.open().parts
    assert dead.renewed().renewed().digest == here.digest


def test_a_handle_of_another_session_makes_its_market_again_once(ray_instance, origin):
    spec, files = origin
    dead = of_a_dead_session(MarketHandle(spec, files))
    gc.collect()
    opened = dead.open()
    assert opened.digest == spec.digest
    assert opened.rules == spec.rules
    files.sources[0].path.unlink()
    again = of_a_dead_session(dead)
    assert again.open().parts is opened.parts  # without the file
    # what a new checkpoint holds can be made again too
    assert dead.renewed()._origin == files


def test_a_market_that_cannot_be_made_again_is_refused_in_one_line(ray_instance, origin):
    spec, files = origin
    dead = of_a_dead_session(MarketHandle(spec, files))
    no_file = of_a_dead_session(MarketHandle(random_spec(seed=8)))
    gc.collect()
    path = files.sources[0].path
    write_bars(make_market("gap", next(SEEDS), 3_000, 0.0).bars, path)
    refuses(dead, rf"the market {spec.digest[:12]} \(SYNTH\) differs from what {path} has now, ")
    path.unlink()
    refuses(dead, rf"\(SYNTH\) needs {path}: .*{path.name}")
    refuses(no_file, r"\(TEST\) belongs to another Ray session and names no files: build")


def refuses(handle, message):
    with pytest.raises(TrainingError, match=message) as error:
        handle.open()
    assert "\n" not in str(error.value)


def test_a_handle_that_an_earlier_version_has_pickled_is_refused_the_same_way(ray_instance):
    handle = MarketHandle.__new__(MarketHandle)
    handle.__setstate__({"_key": b"", "_settings": b""})
    with pytest.raises(TrainingError, match=r"earlier version.* belongs to another Ray session"):
        handle.open()
