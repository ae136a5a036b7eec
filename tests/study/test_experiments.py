from __future__ import annotations

import pytest

from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.errors import ConfigError
from rllib_tactical.study.experiments import (
    QUESTIONS,
    Question,
    Size,
    Variant,
    configured,
    replaced,
    runs_of,
    unique,
    unseen_bars,
)
from tests.study.results import result_of, run_of


def test_every_variant_of_every_question_is_a_configuration() -> None:
    for question in QUESTIONS.values():
        for variant in question.variants:
            config = run_of(variant=variant).config
            assert config.training.num_env_runners == int("overlap" in question.name)
            changed = config != run_of().config
            assert changed == bool(variant.changes), variant.name


def test_changes_name_keys_and_presets() -> None:
    changed = configured({"training.gamma": 0.5, "rewards": "full", "rewards.shared": True})
    assert changed.training.gamma == 0.5
    assert changed.rewards.synergy_bonus == RewardConfig().synergy_bonus > 0
    assert changed.rewards.shared
    assert changed.rewards.pnl_scale == TacticalConfig().rewards.pnl_scale
    with pytest.raises(ConfigError, match="gama"):
        configured({"training.gama": 0.5})


def test_a_run_is_known_by_what_it_depends_on() -> None:
    renamed = run_of(variant=Variant("another name", {}))
    assert renamed.key == run_of().key
    others = [run_of(seed=2), run_of("noise"), run_of(variant=Variant("x", {"training.epochs": 2}))]
    assert len({run.key for run in [run_of(), *others]}) == 4
    assert unique([run_of(), renamed, *others]) == [renamed, *others]


def test_a_size_names_its_difficulty_where_there_is_one() -> None:
    size = Size(4_096, 5_000, unseen_bars(3), 0.5)
    assert str(size) == "4,096 steps, 5,000 training bars, 3 sessions, difficulty 0.5"
    assert Size.of(result_of(run_of(), 1.0)) == Size(100, 4_000, 2_000, 0.0)


def test_the_variants_of_a_seed_and_market_run_one_after_the_other() -> None:
    variants = (Variant("default", {}), Variant("x", {"training.epochs": 2}))
    question = Question("q", "Which?", variants, ("gap", "noise"))
    made = runs_of(question, lambda **given: replaced(run_of(), **given), (1, 2))
    assert [(run.seed, run.market, run.variant.name) for run in made] == [
        (seed, market, variant)
        for seed in (1, 2)
        for market in ("gap", "noise")
        for variant in ("default", "x")
    ]


def test_a_run_trains_whole_updates_of_at_least_its_steps() -> None:
    """100,000 steps are 6.1 updates of 16,384 and 48.8 of 2,048."""
    run = replaced(run_of(seed=3), steps=100_000)
    more = Variant("more", {"training.steps_per_update": 16_384})
    assert run.config.training.iterations == -(-100_000 // run.config.training.update_steps)
    assert replaced(run, variant=more).config.training.iterations == 7
    assert run.config.training.seed == 3


def test_the_unseen_market_has_a_warm_up_and_whole_sessions() -> None:
    """360 embargoed bars; the session that they end in does not count."""
    assert unseen_bars(3) == 360 + 4 * 288
    assert Size(1, 1, unseen_bars(3), 0.0).sessions == 3
