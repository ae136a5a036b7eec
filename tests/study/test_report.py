from __future__ import annotations

from pathlib import Path

from rllib_tactical.study.analysis import answer
from rllib_tactical.study.completed import finished_answers
from rllib_tactical.study.experiments import QUESTIONS
from rllib_tactical.study.report import plot_of, write_page
from rllib_tactical.study.result_store import Store
from rllib_tactical.study.runner import LearningSize
from tests.study.results import keep_all, result_of, run_of


def test_noise_has_an_axis_of_its_own(tmp_path: Path) -> None:
    size = LearningSize(folder=tmp_path, seeds=1)
    keep_all(tmp_path, size.runs(QUESTIONS["learnability"]))
    for found in finished_answers(Store(tmp_path)):
        plot = plot_of(found)
        right = [trace for trace in plot["data"] if trace["yaxis"] == "y2"]
        assert ("yaxis2" in plot["layout"]) == bool(right)
        assert bool(right) == (found.question.name in ("learnability", "scale", "regression"))
        assert ("margin" in plot["layout"]) == bool(right)  # room for the axis
        if found.question.name == "agents":
            assert len({trace["marker"]["color"] for trace in plot["data"]}) == 7
        assert all("noise" in (*trace["x"], *trace["name"].split(", ")) for trace in right)


def test_bars_show_the_means_of_the_lines_and_curves_one_line_per_seed() -> None:
    runs = [run_of(seed=seed) for seed in (1, 2)]
    results = [(run, result_of(run, net)) for run, net in zip(runs, (100.0, 140.0), strict=True)]
    bars = plot_of(answer(QUESTIONS["agents"], results))["data"]
    whole = next(trace for trace in bars if trace["name"] == "all three")
    assert (whole["x"], whole["y"], whole["error_y"]["array"]) == (["gap"], [60.0], [10.0])
    curves = plot_of(answer(QUESTIONS["learnability"], results))["data"]
    assert [trace["y"] for trace in curves] == [[10.0, 37.5, 45.0, 50.0], [14.0, 52.5, 63.0, 70.0]]
    assert [trace["showlegend"] for trace in curves] == [True, False]


def test_the_page_shows_tables_and_notes_of_what_has_run(tmp_path: Path) -> None:
    results = [
        (run_of(seed=seed), result_of(run_of(seed=seed), 100.0) | {"commit": commit})
        for seed, commit in enumerate(("a" * 40, "b" * 40), start=1)
    ]
    found = answer(QUESTIONS["learnability"], results)
    write_page(tmp_path / "page.html", [found, answer(QUESTIONS["veto"], [])])
    page = (tmp_path / "page.html").read_text()
    assert found.note
    assert found.note in page
    assert "plot-learnability-0" in page
    assert QUESTIONS["veto"].title not in page
