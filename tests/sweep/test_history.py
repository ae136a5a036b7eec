from __future__ import annotations

import json
from typing import Any

from rllib_tactical.sweep.history import (
    FINISHED,
    STOPPED,
    UNFINISHED,
    TrialHistory,
    best_trial,
    read_history,
)


def result(trial: int, iteration: int, net_pnl: float, **more: Any) -> dict[str, Any]:
    event = {"event": "result", "trial": trial, "iteration": iteration, "net_pnl": net_pnl}
    return event | {"seconds": 10.0 * iteration, "params": {"lr": 0.1}} | more


def read(*events: dict[str, Any]) -> dict[int, TrialHistory]:
    return read_history(json.dumps(event) for event in events)


def test_a_trial_is_its_results_by_iteration() -> None:
    trials = read(
        {"event": "started", "trial": 1, "params": {"lr": 0.1}},
        result(1, 2, 30.0),
        result(1, 1, 20.0),
        result(0, 1, 5.0),
        {"event": "ended", "trial": 1, "status": FINISHED},
    )
    assert list(trials) == [0, 1]
    one = trials[1]
    assert [row["iteration"] for row in one.curve] == [1, 2]
    assert (one.score, one.seconds, one.status) == (30.0, 20.0, FINISHED)
    assert one.best is not None
    assert one.best["iteration"] == 2
    assert trials[0].status == UNFINISHED


def test_the_first_of_equal_results_is_the_best() -> None:
    trials = read(result(0, 1, 7.0), result(0, 2, 7.0), result(1, 1, 7.0))
    best = best_trial(trials.values())
    assert best is trials[0]
    assert best.best is not None
    assert best.best["iteration"] == 1


def test_without_a_result_there_is_no_best() -> None:
    (trial,) = read({"event": "started", "trial": 0, "params": {}}).values()
    assert (trial.best, trial.score, trial.seconds) == (None, None, 0.0)
    assert best_trial([trial]) is None


def test_a_loss_is_better_than_a_larger_one() -> None:
    trials = read(result(0, 1, -20.0), result(1, 1, -10.0))
    assert best_trial(trials.values()) is trials[1]


def test_a_line_cut_short_is_left_out() -> None:
    lines = [json.dumps(result(0, 1, 5.0)), json.dumps(result(0, 2, 9.0))[:-7], "[1]", "{}"]
    (trial,) = read_history(lines).values()
    assert list(trial.results) == [1]


def test_a_trial_that_has_ended_stays_so() -> None:
    ended = {"event": "ended", "trial": 0, "status": STOPPED, "reason": None}
    (trial,) = read(ended, ended | {"status": FINISHED, "reason": "again"}).values()
    assert (trial.status, trial.reason) == (STOPPED, None)


def test_a_result_with_the_weights_of_another_trial_is_a_change() -> None:
    taken = {"taken_from": 3, "taken_at": 4, "params": {"lr": 0.2}}
    (trial,) = read(
        result(0, 4, 1.0), result(0, 5, 2.0, **taken), result(0, 6, 3.0, **taken)
    ).values()
    assert trial.changes == [{"iteration": 4, "from": 3, "params": {"lr": 0.2}}]
    assert trial.params == {"lr": 0.2}
