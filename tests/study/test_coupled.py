"""The coupled market in the study: one place for all policies, and a run of it through Ray."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
import ray

from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.study import run
from rllib_tactical.study.coupled import coupled_histories, trade_coupled
from rllib_tactical.study.experiments import QUESTIONS, replaced
from rllib_tactical.synthetic import coupled
from rllib_tactical.synthetic.oracle import side_votes
from tests.study.results import run_of


@pytest.fixture(autouse=True)
def _small_reference(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(coupled, "REFERENCE_BARS", 20_000)
    monkeypatch.setattr(coupled, "REFERENCE_SESSIONS", 2)
    coupled.coupled_plans.cache_clear()
    yield
    coupled.coupled_plans.cache_clear()


def test_policies_side_by_side_earn_what_each_earns_alone() -> None:
    histories = coupled_histories(1, 1_600)
    rng = np.random.default_rng(0)
    policies = [
        [side_votes(rng.choice([-1, 0, 1], 900, p=[0.1, 0.8, 0.1])) for _ in histories]
        for _ in range(2)
    ]
    together = trade_coupled(histories, policies, Rules(), 400, 1_300)
    alone = [trade_coupled(histories, [each], Rules(), 400, 1_300)[0] for each in policies]
    assert together == alone
    assert together[0] != together[1]
    assert together[0].trades > 5
    idle = [side_votes(np.zeros(900, dtype=np.int64)) for _ in histories]
    (nothing,) = trade_coupled(histories, [idle], Rules(), 400, 1_300)
    assert (nothing.net, nothing.trades, nothing.win_rate) == (0.0, 0.0, None)


def test_variants_train_with_one_place_but_the_one_that_does_not() -> None:
    question = QUESTIONS["coupled"]
    places = [
        replaced(run_of("coupled"), variant=variant).config.training.episodes.positions
        for variant in question.variants
    ]
    assert places == [1, None, 1, 1, 1, 1]
    plain = dataclasses.replace(TacticalConfig().training.episodes, positions=1)
    first = replaced(run_of("coupled"), variant=question.variants[0]).config
    assert first.training.episodes == plain


@pytest.mark.ray
def test_a_run_trains_and_is_scored_with_one_place() -> None:
    variant = QUESTIONS["coupled"].variants[0]
    asked = replaced(
        run_of("coupled", variant=variant), train_bars=5_000, test_bars=1_000, steps=8_192
    )
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        result = run.train_run(asked)
    finally:
        ray.shutdown()
    best, regression = result["best"], result["regression"]
    assert best["policy"] == best["scales"][f"{best['scale']:g}"]
    assert best["oracle"]["sessions"] == regression["oracle"]["sessions"] == 2
    assert [each["scale"] for each in best["by_scale"]] == list(
        TacticalConfig().training.temperature_scales
    )
    assert result["training"]["episodes"]["positions"] == 1
