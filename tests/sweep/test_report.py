from __future__ import annotations

import math

import pytest

from rllib_tactical.sweep.history import FINISHED, STOPPED, TrialHistory
from rllib_tactical.sweep.report import (
    BEST,
    OTHER,
    curves_plot,
    importance_plot,
    parallel_plot,
    render_sweep,
)
from rllib_tactical.sweep.report import STOPPED as STOPPED_COLOR
from rllib_tactical.sweep.space import Domain
from tests.sweep.conftest import parse

PLAN = {
    "identity": "abc",
    "git_commit": None,
    "parts": [
        {
            "instrument": {"symbol": "MINE", "base_quantity": 5.0},
            "data": {"name": "MINE.csv", "sha256": "feed"},
        }
    ],
}


def trial(number: int, *earned: float, status: str = FINISHED, rate: float = 0.001) -> TrialHistory:
    results = {
        iteration: {
            "iteration": iteration,
            "net_pnl": net_pnl,
            "seconds": 60.0 * iteration,
            "trades": 7,
            "temperature_scale": 0.5,
        }
        for iteration, net_pnl in enumerate(earned, start=1)
    }
    return TrialHistory(number, {"training.actor_lr": rate}, results, status)


def test_a_trial_is_a_line_through_its_values_and_its_result() -> None:
    domains = (
        Domain("training.actor_lr", "log_uniform", (0.0001, 0.01)),
        Domain("sizes", "choice", ([8], [16])),
        Domain("gamma", "uniform", (0.9, 1.0)),
    )
    trials = [trial(0, 5.0), trial(1, 2.0, 9.0)]
    for each, sizes in zip(trials, ([16], [8]), strict=True):
        each.params |= {"sizes": sizes, "gamma": 0.95}
    (line,) = parallel_plot(domains, trials)["data"]
    rate, sizes_axis, gamma, result = line["dimensions"]
    assert rate["values"] == pytest.approx([-3.0, -3.0])
    assert rate["range"] == pytest.approx([-4.0, -2.0])
    assert rate["ticktext"] == ["0.0001", "0.00032", "0.001", "0.0032", "0.01"]
    assert rate["tickvals"][1] == pytest.approx(math.log10(10**-3.5))
    assert (sizes_axis["values"], sizes_axis["ticktext"]) == ([1, 0], ["[8]", "[16]"])
    assert (gamma["values"], gamma["range"]) == ([0.95, 0.95], [0.9, 1.0])
    assert result["values"] == line["line"]["color"] == [5.0, 9.0]


def test_the_best_trial_is_drawn_last_and_named() -> None:
    plot = curves_plot([trial(2, 1.0, 9.0), trial(0, 3.0), trial(1, 2.0, status=STOPPED)])
    stopped, other, best = plot["data"]
    assert [trace["name"] for trace in plot["data"]] == ["trial 1", "trial 0", "trial 2"]
    colors = [trace["line"]["color"] for trace in (best, other, stopped)]
    assert colors == [BEST, OTHER, STOPPED_COLOR]
    assert (best["x"], best["y"]) == ([1, 2], [1.0, 9.0])
    assert [best["showlegend"], other["showlegend"]] == [True, False]


def test_the_largest_importance_is_on_top() -> None:
    (bars,) = importance_plot({"rate": 0.7, "gamma": 0.3})["data"]
    assert (bars["y"], bars["x"]) == (["gamma", "rate"], [0.3, 0.7])


def test_the_page_names_the_best_trial_and_why_others_failed() -> None:
    failed = trial(2, status="failed")
    failed.reason = "batch_size must not exceed 128"
    trials = {0: trial(0, -5.0), 1: trial(1, 2.0, 1_234.0), 2: failed}
    page = render_sweep(parse(samples=3), PLAN, trials, None, {"training.actor_lr": 1.0})
    assert "The best of 2 trials is trial 1: $1,234" in page
    assert "batch_size must not exceed 128" in page
    assert "MINE.csv, SHA-256 feed" in page
    assert "<script src" not in page


def test_the_page_of_a_sweep_without_a_result_says_so() -> None:
    page = render_sweep(parse(), PLAN, {0: trial(0, status="failed")}, None, None)
    assert "No trial has a result." in page
