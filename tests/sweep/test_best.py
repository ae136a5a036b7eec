from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rllib_tactical.artifacts.storage import Place, place_of
from rllib_tactical.errors import TrainingError, UsageError
from rllib_tactical.sweep.best import export_trial, lineage, trial_results
from rllib_tactical.sweep.folder import RESULTS, SWEEP
from rllib_tactical.sweep.history import TrialHistory

PLAN: dict[str, Any] = {
    "identity": "abc",
    "sweep": {"description": "rates", "search": "random", "scheduler": "asha", "samples": 4},
}


def sweep_with(path: Path, *events: dict[str, Any]) -> Place:
    path.mkdir()
    (path / SWEEP).write_text(json.dumps(PLAN))
    (path / RESULTS).write_text("".join(f"{json.dumps(event)}\n" for event in events))
    return place_of(path)


def test_a_bundle_remembers_the_sweep_and_the_trial_it_is_from() -> None:
    results = {1: {"net_pnl": 10.0}, 2: {"net_pnl": 30.0}}
    trial = TrialHistory(2, {"training.actor_lr": 0.1}, results)
    assert lineage(PLAN, trial, 3) == {
        "identity": "abc",
        "description": "rates",
        "search": "random",
        "scheduler": "asha",
        "trial": 2,
        "trials": 3,
        "params": {"training.actor_lr": 0.1},
        "validation_net_pnl": 30.0,
    }


def test_without_a_result_there_is_nothing_to_export(tmp_path: Path) -> None:
    started = {"event": "started", "trial": 0, "params": {}}
    with pytest.raises(TrainingError, match="no trial has a result yet"):
        export_trial(sweep_with(tmp_path / "s", started), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_trial_without_a_result_cannot_be_named(tmp_path: Path) -> None:
    events = [
        {"event": "started", "trial": 1, "params": {}},
        {"event": "result", "trial": 0, "iteration": 1, "net_pnl": 1.0, "params": {}},
    ]
    sweep = sweep_with(tmp_path / "s", *events)
    for number in (1, 7):
        with pytest.raises(UsageError, match=f"has no trial {number} with a result"):
            export_trial(sweep, tmp_path / "out", number=number)


def test_a_folder_without_a_sweep_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no sweep in .* \(sweep.json is missing\)"):
        export_trial(place_of(tmp_path), tmp_path / "out")


def test_a_trial_of_a_local_sweep_is_used_where_it_is(tmp_path: Path) -> None:
    sweep = sweep_with(tmp_path / "s")
    with trial_results(sweep, 12) as folder:
        assert folder == tmp_path / "s" / "trials" / "0012"
