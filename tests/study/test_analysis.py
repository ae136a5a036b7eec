from __future__ import annotations

import pytest

from rllib_tactical.cli import bench as command
from rllib_tactical.study.analysis import Answer, answer, rows_of
from rllib_tactical.study.experiments import QUESTIONS
from tests.study.results import result_of, run_of


def test_differences_are_between_runs_of_one_seed() -> None:
    """Shares 50 and 70 against 40 and 80 percent; seed 3 has no partner."""
    question = QUESTIONS["preset"]
    default, full = question.variants
    earned = [(default, 1, 100.0), (default, 2, 140.0), (full, 1, 80.0), (full, 2, 160.0)]
    earned.append((full, 3, 0.0))
    runs = [(run_of(seed=seed, variant=variant), net) for variant, seed, net in earned]
    found = answer(question, [(run, result_of(run, net)) for run, net in runs])
    first, second = found.lines
    assert first.values == {1: 50.0, 2: 70.0}
    assert not first.against
    assert second.values == {1: 40.0, 2: 80.0, 3: 0.0}
    assert second.against == {1: -10.0, 2: 10.0}
    cells = found.cells()
    assert cells[0][2:5] == ("60.0 ± 10.0", "2", "")
    assert cells[1][4] == "+0.0 ± 10.0"
    assert "| gap | rewards: full |" in found.text()


def test_agents_and_scales_are_answered_from_the_same_runs() -> None:
    run = run_of()
    agents = answer(QUESTIONS["agents"], [(run, result_of(run, 100.0))])
    assert {line.variant: line.mean for line in agents.lines} == {
        "all three": 50.0,
        "fvg neutral": 0.0,
        "fvg neutral, own scale": 25.0,
        "momentum neutral": 50.0,
        "momentum neutral, own scale": 50.0,
        "entry neutral": 12.5,
        "entry neutral, own scale": 12.5,
    }
    assert agents.lines[2].against == {1: -25.0}
    assert agents.lines[2].cells["scale"] == "0.5"
    scales = answer(QUESTIONS["scale"], [(run, result_of(run, 100.0))])
    assert [line.mean for line in scales.lines] == [50.0, 50.0, 25.0]


def test_what_updates_add_to_the_regression_is_answered_from_the_same_runs() -> None:
    pairs = [(run_of(seed=seed), result_of(run_of(seed=seed), 100.0)) for seed in (1, 2)]
    lines = answer(QUESTIONS["regression"], pairs).lines
    assert [(line.variant, line.mean) for line in lines] == [
        ("after updates", 50.0),
        ("regression alone", 45.0),
    ]
    assert lines[1].against == {1: -5.0, 2: -5.0}
    assert lines[1].cells == {"trades": "9.0 ± 0.0", "win rate": "80%", "scale": "0.5 0.5"}
    sampled = pairs[0][1] | {"regression": None}
    assert len(answer(QUESTIONS["regression"], [(run_of(), sampled)]).lines) == 0


def test_the_coupled_market_has_no_target_for_the_win_rate() -> None:
    variant = QUESTIONS["coupled"].variants[0]
    result = result_of(run_of("coupled", variant=variant), 100.0)
    del result["best"]["win_rate"], result["best"]["margins"]
    (line,) = answer(QUESTIONS["coupled"], [(run_of("coupled", variant=variant), result)]).lines
    assert (line.mean, line.cells["trades"]) == (50.0, "8.0")


def test_results_without_the_scales_chosen_anew_are_read() -> None:
    older, newer = (result_of(run_of(seed=seed), 100.0) for seed in (1, 2))
    del older["best"]["without_rescaled"]
    (_, kept, *_) = answer(QUESTIONS["agents"], [(run_of(), older)]).lines
    assert kept.variant == "fvg neutral"
    both = answer(QUESTIONS["agents"], [(run_of(), older), (run_of(seed=2), newer)]).lines
    assert [len(line.values) for line in both] == [2, 2, 1, 2, 1, 2, 1]
    assert len(answer(QUESTIONS["agents"], [(run_of(), older)]).lines) == 4


def test_rows_are_means_with_standard_errors() -> None:
    """Shares 50 and 70 have a mean of 60 and a standard error of 10."""
    runs = [(run_of(seed=seed), net) for seed, net in ((1, 100.0), (2, 140.0))]
    (row,) = rows_of(answer(QUESTIONS["preset"], [(run, result_of(run, net)) for run, net in runs]))
    assert row.unit == "% of oracle, mean ± s.e. of 2 seeds"
    found = row.document()
    assert (found["mean"], found["low"], found["high"]) == pytest.approx((60.0, 50.0, 70.0))
    assert "median" not in found
    assert [column.header for column in command.as_table("learning", [row]).columns][2:5] == [
        "mean",
        "- s.e.",
        "+ s.e.",
    ]
    (alone,) = rows_of(answer(QUESTIONS["preset"], [(run_of(), result_of(run_of(), 100.0))]))
    assert alone.unit == "% of oracle, mean ± s.e. of 1 seed"
    assert (alone.measurement.low, alone.measurement.high) == (50.0, 50.0)


def test_commits_are_told_where_there_are_several() -> None:
    def told(*commits: str | None) -> Answer:
        results = []
        for seed, commit in enumerate(commits, start=1):
            result = result_of(run_of(seed=seed), 100.0)
            results.append((run_of(seed=seed), result | ({"commit": commit} if commit else {})))
        return answer(QUESTIONS["learnability"], results)

    one, other = "a" * 40, "b" * 40 + "-dirty"
    assert told(one, one).note == told(None, None).note == ""
    several = told(one, other, one, None)
    assert several.note == (
        "Results of 3 commits (runs): aaaaaaaaaa (2), bbbbbbbbbb-dirty (1), unknown (1)."
    )
    assert several.text().endswith(" |\n\n" + several.note)


def test_processor_time_and_that_of_the_clock_are_told_apart() -> None:
    found = answer(QUESTIONS["learnability"], [(run_of(), result_of(run_of(), 100.0))])
    shown = dict(zip(found.header, found.cells()[0], strict=True))
    assert shown["CPU s to 80%, of 4 evaluations"] == "30"
    assert (shown["CPU s"], shown["wall s"]) == ("40", "50")


def test_what_a_threshold_for_a_win_rate_costs_stands_beside_the_score() -> None:
    """80% of $100 where the oracle has $200."""
    found = answer(QUESTIONS["learnability"], [(run_of(), result_of(run_of(), 100.0))])
    shown = dict(zip(found.header, found.cells()[0], strict=True))
    assert shown["win rate"] == "80%"
    assert shown["for 75%: score, trades, win rate"] == "40.0, 6.0, 80%"
