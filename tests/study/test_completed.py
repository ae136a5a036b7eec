from __future__ import annotations

from pathlib import Path

from rllib_tactical.study import LearningSize, measure_learning
from rllib_tactical.study.completed import finished_answers, narrowed
from rllib_tactical.study.experiments import QUESTIONS, replaced
from rllib_tactical.study.result_store import Store
from rllib_tactical.study.runner import TABLES
from tests.study.results import keep_all, result_of, run_of


def test_results_of_other_defaults_are_left_out(tmp_path: Path) -> None:
    run = run_of()
    Store(tmp_path).keep(run, result_of(run, 100.0))
    path = Store(tmp_path).path(run)
    path.rename(path.with_name(path.name.replace(run.key, "0" * 16)))
    measure_learning(LearningSize(folder=tmp_path, minutes=0), lambda _: None)
    assert (tmp_path / TABLES).read_text() == "no finished runs with the present defaults\n"


def test_a_comparison_of_which_only_the_default_has_run_is_left_out(tmp_path: Path) -> None:
    store = Store(tmp_path)
    default, full = QUESTIONS["preset"].variants
    store.keep(run_of(variant=default), result_of(run_of(variant=default), 100.0))
    assert [each.question.name for each in finished_answers(store)] == [
        "learnability",
        "agents",
        "scale",
        "regression",
    ]
    store.keep(run_of(variant=full), result_of(run_of(variant=full), 100.0))
    assert [each.question.name for each in finished_answers(store)][4:] == ["preset"]


def test_longer_runs_come_first_and_each_size_has_its_own_answer(tmp_path: Path) -> None:
    runs = [replaced(run_of(), steps=steps) for steps in (100, 300, 200)]
    for run in runs:
        Store(tmp_path).keep(run, result_of(run, 100.0))
    sizes = [each.size for each in finished_answers(Store(tmp_path))[:3]]
    assert [size and size.steps for size in sizes] == [300, 200, 100]


def test_answers_are_narrowed_to_questions_and_markets(tmp_path: Path) -> None:
    keep_all(tmp_path, [run_of("gap"), run_of("momentum")])
    everything = finished_answers(Store(tmp_path))
    assert narrowed(everything, (), ()) == everything
    (only,) = narrowed(everything, ("scale",), ("gap",))
    assert only.question.name == "scale"
    assert {line.market for line in only.lines} == {"gap"}
    assert {line.market for line in everything[2].lines} == {"gap", "momentum"}
