"""The evaluation of a policy on its way, and one real run of the study, through Ray."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest
import ray
import torch

from rllib_tactical.artifacts.versions import git_commit
from rllib_tactical.bundle.networks import Actor
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.domain.simulation.history import Split, split_history
from rllib_tactical.domain.types import AGENTS, NUM_FEATURES
from rllib_tactical.rl.training.validation import Validation
from rllib_tactical.rl.training.validation import validate as validation_of
from rllib_tactical.study import LearningSize, measure_learning, run
from rllib_tactical.study.experiments import Variant, replaced
from rllib_tactical.synthetic import make_market
from tests.actors import weights_of
from tests.study.results import run_of


@pytest.mark.slow
def test_an_evaluation_on_the_way_takes_a_part_and_the_last_one_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run, "CURVE_BARS", 576)  # two sessions
    validated: list[Split] = []

    def validate(engine: Any, parts: list[Any], *rest: Any) -> Validation:
        validated.extend(split for _, split in parts)
        return validation_of(engine, parts, *rest)

    monkeypatch.setattr(run, "validate", validate)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        weights = weights_of([Actor((1.0,) * NUM_FEATURES, 1.0) for _ in AGENTS])
    few = Variant("few scales", {"training.temperature_scales": (1.0, 0.5)})
    asked = replaced(run_of("momentum", variant=few), train_bars=7_000)
    history = make_market("momentum", asked.seed, asked.train_bars).history()
    _, validation, _ = split_history(len(history), run.SPLITS)
    evaluate = functools.partial(run._evaluate, asked, asked.config, weights, history, validation)
    part, whole = evaluate(last=False), evaluate(last=True)
    assert [split.stop - split.start for split in validated] == [
        576,
        690,
    ]  # of 7,000 bars 15%, less 360
    # between the closes that fall in 576 bars, and in the 1,641 after the warm-up
    assert (part["oracle"]["sessions"], whole["oracle"]["sessions"]) == (1, 5)
    assert part["policy"]["sessions"] == 1
    assert set(whole) - set(part) == {"scales", "shapley", "without", "without_rescaled"}
    scale = whole["scale"]
    assert whole["scales"][f"{scale:g}"] == whole["policy"]
    assert set(whole["without"]) == set(whole["without_rescaled"]) == set(AGENTS)


@pytest.mark.ray
def test_a_study_trains_evaluates_and_goes_on_where_it_was(tmp_path: Path) -> None:
    size = LearningSize(
        folder=tmp_path,
        questions=("learnability", "agents"),
        markets=("momentum",),
        seeds=1,
        steps=8_192,
        train_bars=5_000,
        sessions=3,
    )
    said: list[str] = []
    rows = measure_learning(size, said.append)
    assert not ray.is_initialized()
    assert said[0] == "0 of 1 runs are finished"
    assert len(rows) == 1 + 7 + 6  # a line each, and differences of the neutral votes
    (path,) = tmp_path.glob("*.json")
    result = json.loads(path.read_text())
    assert result["steps"] == 8_192
    assert result["commit"] == git_commit()
    assert [point["steps"] for point in result["curve"]] == [8_192]  # one update, one evaluation
    assert set(result["sampled_trades_per_bar"]) == {"first", "last"}
    last = result["curve"][-1]
    assert set(last["without"]) == {"fvg", "momentum", "entry"}
    assert set(last["without_rescaled"]) == {"fvg", "momentum", "entry"}
    assert len(last["scales"]) == len(TacticalConfig().training.temperature_scales)
    assert last["oracle"]["net"] > 0
    said.clear()
    assert [row.document() for row in measure_learning(size, said.append)] == [
        row.document() for row in rows
    ]
    assert said[0] == "1 of 1 runs are finished"
