from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ray import tune

from envs.market import MarketSpec
from rllib_tactical.artifacts.run_folder import RUN
from rllib_tactical.artifacts.storage import place_of
from rllib_tactical.bundle.networks import Standardization
from rllib_tactical.domain.simulation.history import split_history
from rllib_tactical.errors import TrainingError
from rllib_tactical.sweep import trial as trials
from rllib_tactical.sweep.shared_market import SharedMarket
from rllib_tactical.sweep.trial import TrialPlan, TuneReport, number_of, trial_folder
from tests.market import random_spec
from tests.rl.segments import open_market
from tests.sweep.conftest import TRAINING, parse

KEY = "training.actor_lr"


def plan_at(path: Path, population: bool = False) -> TrialPlan:
    spec = parse(config={"training": TRAINING})
    market: MarketSpec = random_spec()
    splits = split_history(len(market.parts[0].history), (0.6, 0.4, 0.0))
    return TrialPlan(
        place=place_of(path),
        space=spec.domains,
        base=spec.config,
        market=SharedMarket(open_market(market), (splits,), ({},), Standardization.identity()),
        run={},
        population=population,
        ended={},
    )


def trial_of(plan: TrialPlan, drawn: float = 0.0005, published: list[int] | None = None) -> Any:
    path = plan.place.local / "trials" / "0003"
    return trials._Trial(3, {KEY: drawn}, plan, path, lambda: (published or []).append(1))


def row(iteration: int, net_pnl: float) -> dict[str, Any]:
    return {
        "iteration": iteration,
        "validation_net_pnl": net_pnl,
        "validation_trades": 12,
        "temperature_scale": 0.5,
        "env_steps": 256 * iteration,
        "pnl": 1.0,
        "total_seconds": 3.0,
    }


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, Any], Any]]:
    """Collects what is reported to Tune, with what its checkpoint points to."""
    found: list[tuple[dict[str, Any], Any]] = []

    def report(result: dict[str, Any], checkpoint: Any = None) -> None:
        pointer = None
        if checkpoint is not None:
            with checkpoint.as_directory() as name:
                pointer = json.loads((Path(name) / "from.json").read_text())
        found.append((result, pointer))

    monkeypatch.setattr(tune, "report", report)
    return found


def test_a_trial_is_numbered_by_the_search_or_by_tune() -> None:
    assert number_of("abc_00007", {}) == 7
    assert number_of("abc_00007", {"trial_number": 2}) == 2


def test_a_trial_of_a_local_sweep_writes_where_the_sweep_is(tmp_path: Path) -> None:
    with trial_folder(place_of(tmp_path), 3) as (folder, publish):
        assert folder == tmp_path / "trials" / "0003"
        publish()


def test_a_validated_result_is_reported_with_the_best_so_far(
    tmp_path: Path, reported: list[tuple[dict[str, Any], Any]]
) -> None:
    report = TuneReport(trial_of(plan_at(tmp_path)), {})
    run: Any = None
    for found in (row(1, 50.0), {"iteration": 2}, row(3, 20.0)):
        report.on_iteration(run, found)
        report.on_checkpoint(run, tmp_path)
    results = [result for result, _ in reported]
    assert [each["iteration"] for each in results] == [1, 3]  # the second was not validated
    assert [each["net_pnl"] for each in results] == [50.0, 20.0]
    assert [each["best_net_pnl"] for each in results] == [50.0, 50.0]
    assert results[0]["number"] == 3
    assert json.loads(results[0]["drawn"]) == {KEY: 0.0005}
    assert "taken_from" not in results[0]
    assert [pointer for _, pointer in reported] == [None, None]


def test_a_member_of_a_population_hands_over_a_pointer_to_its_checkpoint(
    tmp_path: Path, reported: list[tuple[dict[str, Any], Any]]
) -> None:
    state = {"source": {"trial": 1, "iteration": 4}}
    report = TuneReport(trial_of(plan_at(tmp_path, population=True)), state)
    report.take(row(5, 50.0))
    report.send(row(5, 50.0))
    ((result, pointer),) = reported
    assert pointer == {"trial": 3, "iteration": 5}
    assert (result["taken_from"], result["taken_at"]) == (1, 4)


def test_a_trial_that_was_started_with_other_values_does_not_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tune, "get_checkpoint", lambda: None)
    trial = trial_of(plan_at(tmp_path), drawn=0.0005)
    trial.path.mkdir(parents=True)
    (trial.path / RUN).write_text("{}")
    trial.write_state({"trial": 3, "params": {KEY: 0.0007}})
    with pytest.raises(TrainingError, match="trial 3 was started with other values"):
        trials._run(trial)


def test_what_was_cut_off_before_its_first_state_is_begun_anew(tmp_path: Path) -> None:
    trial = trial_of(plan_at(tmp_path))
    assert trial.state() is None
    trial.path.mkdir(parents=True)
    trial.write_state({"trial": 3})
    assert trial.state() is None  # the run's own file is missing
    (trial.path / RUN).write_text("{}")
    assert trial.state() == {"trial": 3}
