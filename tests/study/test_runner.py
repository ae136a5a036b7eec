from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rllib_tactical.errors import TrainingError, UsageError
from rllib_tactical.study import LearningSize, measure_learning
from rllib_tactical.study.experiments import QUESTIONS, Run
from rllib_tactical.study.runner import PAGE, TABLES
from tests.study.results import keep_all


def test_finished_runs_are_told_without_training(tmp_path: Path) -> None:
    size = LearningSize(folder=tmp_path, questions=("learnability",), seeds=2, minutes=0)
    keep_all(tmp_path, size.runs(QUESTIONS["learnability"])[:5])
    said: list[str] = []
    rows = measure_learning(size, said.append)
    assert said == [f"tables and plots: {tmp_path / PAGE}"]
    by_name = {row.name: row for row in rows}
    kind = "(409,600 steps, 400,000 training bars, 200 sessions)"
    gap = by_name[f"learnability: gap, default {kind}"]
    assert gap.unit == "% of oracle, mean ± s.e. of 2 seeds"
    assert gap.measurement.median == pytest.approx(85.0)
    assert not gap.met  # 95 is asked
    assert by_name[f"learnability: noise, default {kind}"].target is None
    assert "| gap | default | 85.0 ± 0.0 | 2 |" in (tmp_path / TABLES).read_text()
    page = (tmp_path / PAGE).read_text()
    assert "plot-learnability-0" in page
    assert "http://" not in page.split("<script>")[0]


@pytest.mark.slow
def test_everything_finished_is_told_whatever_is_asked(tmp_path: Path) -> None:
    """Runs of two sizes, the longer ones of two questions; then those of one alone are asked for.

    A comparison of which only the default has run has nothing to say.
    """
    short = LearningSize(folder=tmp_path, questions=("learnability",), seeds=1, sessions=9)
    long = LearningSize(folder=tmp_path, questions=("preset",), seeds=1, steps=819_200)
    runs = short.runs(QUESTIONS["learnability"])
    keep_all(tmp_path, [*runs, *long.runs(QUESTIONS["preset"])])
    (tmp_path / "figures.json").write_text("{}")  # of --out
    rows = measure_learning(short, lambda _: None)
    assert [row.name for row in rows if row.name.endswith("default")] == [
        f"learnability: {run.market}, default" for run in runs
    ]  # as asked: nothing was missing
    text, page = (tmp_path / TABLES).read_text(), (tmp_path / PAGE).read_text()
    both = "(819,200 steps, 400,000 training bars, 200 sessions)"
    one = "(409,600 steps, 400,000 training bars, 9 sessions)"
    titles = [line for line in text.splitlines() if line.endswith(")")]
    assert titles == [
        f"{QUESTIONS[name].title} {size}"
        for name in ("learnability", "agents", "scale", "regression", "preset")
        for size in (both, one)
        if (name, size) != ("preset", one)
    ]
    assert all(title.replace("'", "&#39;") in page for title in titles)
    told = LearningSize(folder=tmp_path, questions=("preset",), markets=("gap",), minutes=0)
    assert [row.name for row in measure_learning(told, lambda _: None)] == [
        f"preset: gap, default {both}",
        f"preset: gap, rewards: full {both}",
        f"preset: gap, rewards: full {both}, paired",
    ]
    assert (tmp_path / TABLES).read_text() == text


@pytest.mark.ray
def test_a_run_that_fails_without_a_message_is_named_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(run: Run) -> dict[str, Any]:
        raise MemoryError if run.market == "gap" else ValueError("first line\nlast line")

    monkeypatch.setattr("rllib_tactical.study.run.train_run", fails)
    size = LearningSize(
        folder=tmp_path, questions=("learnability",), markets=("gap", "momentum"), seeds=1
    )
    with pytest.raises(TrainingError, match="2 runs failed") as raised:
        measure_learning(size, lambda _: None)
    assert "gap seed 1, default: MemoryError" in str(raised.value)
    assert "momentum seed 1, default: last line" in str(raised.value)


def test_a_question_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UsageError, match="moon"):
        LearningSize(questions=("moon",))


def test_a_study_that_is_cut_short_has_few_seeds_of_every_question(tmp_path: Path) -> None:
    size = LearningSize(folder=tmp_path, questions=("veto", "preset"), markets=("gap",), seeds=2)
    assert [question.name for question in size.asked] == ["veto", "preset"]
    assert [(run.seed, run.market) for run in size.runs(QUESTIONS["veto"])] == [
        (1, "gap"),
        (1, "gap"),
        (2, "gap"),
        (2, "gap"),
    ]
