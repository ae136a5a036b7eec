"""Bars travel to a process once and are opened there once."""

import copy
import dataclasses

import pytest
import ray
from ray import cloudpickle

from rllib_tactical.errors import (
    TrainingError,
)
from rllib_tactical.rl.sampling import market_ref
from rllib_tactical.rl.sampling.market_ref import MarketHandle
from tests.market import random_spec

pytestmark = pytest.mark.ray


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
    assert len(market_ref._opened) == 1


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


def test_a_reference_of_another_session_is_refused_by_what_to_do(ray_instance):
    handle = MarketHandle(random_spec())
    # its number may be that of any object now
    handle._key = cloudpickle.dumps(ray.put("not a market"))
    with pytest.raises(TrainingError, match="belongs to another Ray session: build"):
        handle.open()
