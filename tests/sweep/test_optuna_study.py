from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from rllib_tactical.sweep.history import FAILED, FINISHED, STOPPED, UNFINISHED, TrialHistory
from rllib_tactical.sweep.optuna_study import NAME, StudyFile, scored_study
from rllib_tactical.sweep.space import Domain, Space

SPACE = Space(
    (
        Domain("rate", "log_uniform", (0.0001, 0.01)),
        Domain("sizes", "choice", ([8], [16, 8])),
        Domain("epochs", "integer", (1, 4)),
    )
)


def trial(number: int, status: str, *earned: float) -> TrialHistory:
    results = {
        k: {"net_pnl": each, "trades": 7, "seconds": 1.0} for k, each in enumerate(earned, start=1)
    }
    params: dict[str, Any] = {"rate": 0.001, "sizes": [16, 8], "epochs": 2}
    reason = "no room" if status == FAILED else None
    return TrialHistory(number, params, results, status, reason)


def opened(path: Path) -> optuna.Study:
    """Open the file as `optuna-dashboard` does."""
    storage = JournalStorage(JournalFileBackend(str(path)))
    return optuna.load_study(study_name=NAME, storage=storage)


def test_another_process_sees_the_trials_while_the_sweep_runs(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    study = StudyFile(path, SPACE)
    study.add(trial(0, FINISHED, 5.0, 9.0, 7.0))
    assert [each.value for each in opened(path).trials] == [9.0]
    study.add(trial(1, STOPPED, 3.0))
    study.add(trial(2, FAILED))
    study.add(trial(3, UNFINISHED, 1.0))
    study.add(TrialHistory(4, {}, {}, FAILED, "its process was lost"))
    found = opened(path)
    states = [each.state for each in found.trials]
    assert states == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL]
    first, stopped, failed = found.trials
    assert first.params == {"rate": 0.001, "sizes": "[16, 8]", "epochs": 2}
    assert first.intermediate_values == {1: 5.0, 2: 9.0, 3: 7.0}
    assert stopped.value == 3.0
    assert failed.user_attrs == {"trial": 2, "status": FAILED, "reason": "no room"}
    assert found.best_trial.user_attrs["trial"] == 0
    assert found.direction == optuna.study.StudyDirection.MAXIMIZE


def test_a_new_session_writes_the_file_anew(tmp_path: Path) -> None:
    path = tmp_path / "study.journal"
    for _ in range(2):
        StudyFile(path, SPACE).add(trial(0, FINISHED, 1.0))
    assert len(opened(path).trials) == 1


def test_a_study_of_what_has_a_result_counts_each_as_complete() -> None:
    study = scored_study(SPACE, [trial(0, FINISHED, 1.0), trial(1, STOPPED, 2.0)])
    assert [each.state for each in study.trials] == [TrialState.COMPLETE] * 2
    assert study.best_value == pytest.approx(2.0)
