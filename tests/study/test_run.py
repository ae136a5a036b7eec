"""The evaluation of a policy on its way, and one real run of the study, through Ray."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import ray
import torch

from rllib_tactical.artifacts.versions import git_commit
from rllib_tactical.bundle.inference import TorchEngine
from rllib_tactical.bundle.networks import Actor
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.domain.simulation.history import split_history
from rllib_tactical.domain.types import AGENTS, NUM_FEATURES
from rllib_tactical.rl.training.validation import Validation
from rllib_tactical.study import LearningSize, measure_learning, run
from rllib_tactical.study.experiments import Variant, replaced
from rllib_tactical.synthetic import make_market
from tests.actors import weights_of
from tests.study.results import run_of


@pytest.mark.slow
def test_an_evaluation_on_the_way_takes_a_part_and_the_best_actors_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run, "CURVE_BARS", 576)  # two sessions
    with torch.random.fork_rng():
        torch.manual_seed(5)
        weights = weights_of([Actor((1.0,) * NUM_FEATURES, 1.0) for _ in AGENTS])
    few = Variant("few scales", {"training.temperature_scales": (1.0, 0.5)})
    asked = replaced(run_of("momentum", variant=few), train_bars=7_000)
    history = make_market("momentum", asked.seed, asked.train_bars).history()
    _, validation, _ = split_history(len(history), run.SPLITS)
    engine = TorchEngine(weights)
    found = run._Candidate(engine, run._validated(asked.config, engine, [(history, validation)]))
    part = run._evaluate(asked, asked.config, found)
    whole = run._evaluate_best(asked, asked.config, found, [(history, validation)])
    # between the closes that fall in 576 bars, and in the 1,641 after the warm-up
    assert (part["oracle"]["sessions"], whole["oracle"]["sessions"]) == (1, 5)
    assert part["policy"]["sessions"] == 1
    more = {"by_scale", "scales", "shapley", "win_rate", "without", "without_rescaled"}
    assert set(whole) - set(part) == more
    scale = whole["scale"]
    assert whole["scales"][f"{scale:g}"] == whole["policy"]
    assert set(whole["without"]) == set(whole["without_rescaled"]) == set(AGENTS)
    assert whole["win_rate"]["wanted"] == run.WIN_RATE


@pytest.mark.ray
def test_the_actors_that_were_best_on_validation_bars_are_scored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Three evaluations; the second one has the best validation."""
    pnls = iter([10.0, 30.0, 20.0])
    scored: list[float] = []

    def validated(*rest: Any) -> Validation:
        return Validation(1.0, next(pnls), 1, 1, [])

    def best(asked: Any, config: Any, found: Any, *rest: Any) -> dict[str, Any]:
        scored.append(found.validation.net_pnl)
        return {}

    monkeypatch.setattr(run, "EVALUATIONS", 3)
    monkeypatch.setattr(run, "_validated", validated)
    monkeypatch.setattr(run, "_evaluate", lambda *rest: {})
    monkeypatch.setattr(run, "_evaluate_best", best)
    monkeypatch.setattr(run, "_evaluate_regression", lambda *rest: None)
    asked = replaced(run_of("momentum"), train_bars=5_000, steps=3 * 8_192)
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        result = run.train_run(asked)
    finally:
        ray.shutdown()
    assert [point["validation"] for point in result["curve"]] == [10.0, 30.0, 20.0]
    assert scored == [30.0]


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
    # a line each, differences of the neutral votes, three more targets
    assert len(rows) == 1 + 7 + 6 + 3
    (path,) = tmp_path.glob("*.json")
    result = json.loads(path.read_text())
    assert result["steps"] == 8_192
    assert result["commit"] == git_commit()
    assert [point["steps"] for point in result["curve"]] == [8_192]  # one update, one evaluation
    assert set(result["sampled_trades_per_bar"]) == {"first", "last"}
    assert result["regression"]["policy"]["sessions"] == result["best"]["policy"]["sessions"]
    last = result["best"]
    assert set(last["without"]) == {"fvg", "momentum", "entry"}
    assert set(last["without_rescaled"]) == {"fvg", "momentum", "entry"}
    assert len(last["scales"]) == len(TacticalConfig().training.temperature_scales)
    assert last["oracle"]["net"] > 0
    said.clear()
    assert [row.document() for row in measure_learning(size, said.append)] == [
        row.document() for row in rows
    ]
    assert said[0] == "1 of 1 runs are finished"
