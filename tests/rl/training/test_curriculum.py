"""Stages of markets, and when a run leaves one."""

import dataclasses

import numpy as np
import pytest

from rllib_tactical.bundle.networks import Standardization
from rllib_tactical.config.curriculum import StageConfig
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.config.training import StopConfig, TrainingConfig, ValidationConfig
from rllib_tactical.errors import ConfigError, DataError
from rllib_tactical.rl.training.curriculum import check_new_run, oracle_of, promoted, stage_market

SCALE = Standardization((0.1,) * 7, (0.5,) * 7)
STAGE = StageConfig(name="clean", market="gap", bars=4_000, promote_at=0.5, min_iterations=3)
REAL = StageConfig(name="real", market="data")


def changed(**changes):
    return dataclasses.replace(STAGE, **changes)


@pytest.mark.parametrize(
    ("stage", "iterations", "reward", "share", "leaves"),
    [
        (STAGE, 3, 9.0, 0.5, True),
        (STAGE, 2, 9.0, 0.9, False),  # too early
        (STAGE, 9, 9.0, 0.49, False),
        (STAGE, 9, 9.0, None, False),
        (changed(max_iterations=9), 9, None, None, True),
        (changed(promote_by="reward"), 3, 0.6, None, True),
        (changed(promote_by="reward"), 3, None, 0.9, False),
        (REAL, 99, 9.0, 0.9, False),
    ],
)
def test_promotion(stage, iterations, reward, share, leaves):
    assert promoted(stage, iterations, reward, {"oracle_share": share}) is leaves
    assert promoted(changed(), iterations, reward, None) is False


def test_a_stage_is_a_market_of_its_own_with_the_runs_standardisation():
    one, other = (stage_market(STAGE, TacticalConfig(), SCALE) for _ in range(2))
    (part,) = one.parts
    np.testing.assert_array_equal(part.history.bars.close, other.parts[0].history.bars.close)
    assert len(part.history) == 4_000
    assert [split.name for split in part.splits] == ["train", "validation", "test"]
    assert one.standardization is SCALE
    harder = stage_market(changed(difficulty=1.0), TacticalConfig(), SCALE)
    assert (harder.parts[0].history.bars.close != part.history.bars.close).any()
    assert (oracle_of(STAGE), oracle_of(REAL), oracle_of(None)) == ("gap", None, None)


def test_a_stage_too_short_for_its_episodes_is_refused():
    with pytest.raises(DataError, match="split"):
        stage_market(changed(bars=900), TacticalConfig(), SCALE)


def test_every_stage_is_tried_before_a_run_begins():
    later = changed(name="later", bars=900)
    config = TacticalConfig(training=TrainingConfig(curriculum=(STAGE, later, REAL)))
    with pytest.raises(ConfigError, match=r"stage 'later': .*split"):
        check_new_run(config, SCALE)
    check_new_run(TacticalConfig(training=TrainingConfig(curriculum=(STAGE, REAL))), SCALE)


@pytest.mark.parametrize(
    ("training", "waits"),
    [
        ({"stop": StopConfig(target=1.0)}, "stop.target"),
        ({"stop": StopConfig(patience=2)}, "stop.patience"),
        ({"validation": ValidationConfig(best_by="reward")}, "validation.best_by reward"),
        ({"curriculum": (STAGE, REAL)}, "stage 'clean'"),
    ],
)
def test_what_waits_for_validation_needs_bars_for_it(training, waits):
    check_new_run(TacticalConfig(training=TrainingConfig(**training)), SCALE)
    none = TrainingConfig(**training, splits=(0.8, 0.0, 0.2))  # runs that were made so are read
    with pytest.raises(ConfigError, match=f"training.splits must leave bars .* by {waits}.*0.0"):
        check_new_run(TacticalConfig(training=none), SCALE)


def test_without_bars_for_validation_a_run_may_go_by_its_rewards():
    by_reward, in_time = changed(promote_by="reward"), changed(name="b", max_iterations=9)
    stages = (by_reward, in_time, REAL)
    training = TrainingConfig(curriculum=stages, splits=(1.0, 0.0, 0.0))
    check_new_run(TacticalConfig(training=training), SCALE)


def test_noise_is_not_left_by_its_oracle_alone():
    stages = (changed(market="noise"), REAL)
    with pytest.raises(ConfigError, match="max_iterations is needed to leave noise"):
        check_new_run(TacticalConfig(training=TrainingConfig(curriculum=stages)), SCALE)


def test_the_origin_of_a_stage_makes_its_market_again():
    spec = (market := stage_market(STAGE, TacticalConfig(), SCALE)).spec
    assert market.origin is not None
    assert dataclasses.replace(spec, parts=market.origin.parts()).digest == spec.digest
    assert str(market.origin) == "4,000 bars of the gap market"
