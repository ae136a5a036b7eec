import dataclasses

import numpy as np
import pytest

from envs.market import MarketPart, MarketSpec
from envs.parallel import TacticalParallelEnv
from rllib_tactical.config.loader import from_dict
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.domain.simulation.history import Split, build_history
from rllib_tactical.domain.types import AGENTS
from rllib_tactical.errors import ConfigError, DataError
from tests.market import INSTRUMENT, random_bars, random_history, random_spec, sessions_of_length

FIRST = random_history(900, seed=1)
SECOND = build_history(
    random_bars(1_000, 2),
    sessions_of_length(1_000),
    dataclasses.replace(INSTRUMENT, symbol="OTHER", point_value=3.0),
)
SPEC = dataclasses.replace(
    random_spec(900, seed=1, length=32),
    parts=(
        MarketPart(FIRST, Split("train", 0, 900)),
        MarketPart(SECOND, Split("train", 0, 1_000)),
    ),
)


def test_groups_are_dealt_out_evenly_and_every_instrument_gets_one():
    counts = [replay.num_accounts for replay in SPEC.replays(20, seed=0, group_size=4)]
    assert counts == [12, 8]
    with pytest.raises(ConfigError, match="at least one for each of the 2"):
        SPEC.replays(4, seed=0, group_size=4)
    with pytest.raises(ConfigError, match=r"whole groups of accounts_per_bar \(3\)"):
        SPEC.replays(10, seed=0, group_size=3)


def test_instruments_that_share_places_have_as_many_accounts_on_the_same_bars():
    other = dataclasses.replace(INSTRUMENT, symbol="OTHER")
    history = build_history(random_bars(900, 5), sessions_of_length(900), other)
    part = MarketPart(history, Split("train", 0, 900))
    episodes = dataclasses.replace(SPEC.episodes, positions=1)
    spec = dataclasses.replace(SPEC, parts=(SPEC.parts[0], part), episodes=episodes)
    first, second = spec.replay_set(8, seed=1, group_size=2).replays
    np.testing.assert_array_equal(first.t, second.t)
    assert spec.replay_set(8, seed=1).account_features().shape == (8, 5)
    with pytest.raises(ConfigError, match="a multiple of accounts_per_bar x instruments, 2 x 2"):
        spec.replay_set(6, seed=1, group_size=2)
    with pytest.raises(DataError, match="TEST and OTHER differ in times"):
        dataclasses.replace(SPEC, episodes=episodes).replay_set(8)
    with pytest.raises(ConfigError, match=r"episodes\.positions must be None here"):
        TacticalParallelEnv(spec)


def test_episodes_of_the_environment_draw_their_instrument():
    env = TacticalParallelEnv(SPEC, seed=0)
    seen = {env.reset()[1]["fvg"]["instrument"] for _ in range(30)}
    assert {env.symbols[place] for place in seen} == {"TEST", "OTHER"}


def test_a_seed_repeats_instrument_and_start():
    one, two = TacticalParallelEnv(SPEC), TacticalParallelEnv(SPEC)
    two.reset(seed=77)
    for seed in range(3):
        for again in (seed, *[None] * 6):  # of either instrument, also without a seed
            first, second = one.reset(seed=again)[1]["fvg"], two.reset(seed=again)[1]["fvg"]
            assert first["bar"] == second["bar"]


def test_the_running_bar_number_tells_the_observation():
    env = TacticalParallelEnv(SPEC, seed=3)
    for _ in range(5):
        observations, infos = env.reset()
        bar = np.array([infos["entry"]["bar"]])
        np.testing.assert_array_equal(observations["entry"], SPEC.histories.gather(bar)[0])
    _, _, _, _, infos = env.step(dict.fromkeys(AGENTS, 1))
    assert infos["entry"]["bar"] == bar[0] + 1


def test_a_configuration_gives_rules_rewards_episodes_and_confidence():
    config = from_dict(
        TacticalConfig,
        {
            "orders": {"stop_atr": 0.5},
            "rewards": {"pnl_scale": 7.0},
            "training": {"episodes": {"kind": "bars", "length": 33}, "train_confidence": 0.7},
        },
        "test",
    )
    spec = MarketSpec.from_config(config, SPEC.parts)
    assert spec.parts is SPEC.parts
    assert spec.rules == config.rules != SPEC.rules
    assert spec.rewards == config.rewards != SPEC.rewards
    assert spec.episodes == config.training.episodes != SPEC.episodes
    assert spec.train_confidence == 0.7


def test_a_spec_is_a_value():
    assert isinstance(SPEC, MarketSpec)
    with pytest.raises(dataclasses.FrozenInstanceError):
        SPEC.train_confidence = 1.0  # type: ignore[misc]


def test_the_digest_tells_markets_apart_and_not_their_settings():
    def of(history=FIRST, stop=900, **settings):
        part = MarketPart(history, Split("train", 0, stop))
        spec = dataclasses.replace(SPEC, parts=(part,), **settings)
        return spec.digest

    digest = of()
    assert digest == of(random_history(900, seed=1)) == of(train_confidence=0.5)
    dear = dataclasses.replace(FIRST, instrument=dataclasses.replace(INSTRUMENT, tick_size=0.02))
    close = FIRST.bars.close.copy()
    close[500] += 0.01
    bar = dataclasses.replace(FIRST, bars=dataclasses.replace(FIRST.bars, close=close))
    kind = FIRST.synergy.kind.copy()
    kind[500] += 1
    event = dataclasses.replace(FIRST, synergy=dataclasses.replace(FIRST.synergy, kind=kind))
    longer = build_history(random_bars(900, 1), sessions_of_length(900, 50), INSTRUMENT)
    others = [of(dear), of(bar), of(event), of(longer), of(stop=899)]
    assert len({digest, *others, SPEC.digest}) == 7
