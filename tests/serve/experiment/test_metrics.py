from __future__ import annotations

from serve.api.experiment import ExperimentAnswer
from serve.experiment.metrics import experiment_metrics
from tests.serve.experiment.test_status import answer, challenger


def values(found: ExperimentAnswer) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (sample.name.removeprefix("tactical_experiment_"), tuple(sample.labels.values())): (
            sample.value
        )
        for metric in experiment_metrics(found, 10.0)
        for sample in metric.samples
    }


def test_each_challenger_has_its_values() -> None:
    assert values(answer(challenger("a"))) == {
        ("age_seconds", ()): 3.0,
        ("decisions", ("X", "a")): 3.0,
        ("unanswered", ("X", "a")): 1.0,
        ("agreement_ratio", ("X", "a")): 0.5,
        ("sessions", ("X", "a")): 2.0,
        ("equity_dollars", ("X", "a", "champion")): 100.0,
        ("difference_ratio", ("X", "a", "low")): -0.1,
        ("difference_ratio", ("X", "a", "mean")): 0.0,
        ("difference_ratio", ("X", "a", "high")): 0.1,
    }


def test_without_an_experiment_there_are_no_values() -> None:
    assert values(ExperimentAnswer()) == {}
