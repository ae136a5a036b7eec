"""The study of learning: what is asked, what is kept, what the answers say; and one real run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from click.testing import CliRunner

from rllib_tactical.artifacts.versions import git_commit
from rllib_tactical.cli import bench as command
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.domain.decision.actions import EXECUTE
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.errors import ConfigError, TrainingError, UnreadableError, UsageError
from rllib_tactical.rl.training.validation import equal_size
from rllib_tactical.study import LearningSize, measure_learning
from rllib_tactical.study.analysis import Answer, answer, rows_of
from rllib_tactical.study.completed import finished_answers
from rllib_tactical.study.experiments import (
    QUESTIONS,
    Run,
    Size,
    Variant,
    configured,
    unique,
    unseen_bars,
)
from rllib_tactical.study.report import plot_of, write_page
from rllib_tactical.study.result_store import Store
from rllib_tactical.study.runner import PAGE, TABLES
from rllib_tactical.study.score import percent, seconds_to
from rllib_tactical.study.scoring import (
    evaluated_without,
    oracle,
    scale_without,
    serving_votes,
    without,
)
from rllib_tactical.synthetic import make_market
from rllib_tactical.synthetic.oracle import oracle_votes

MARGINS = [0.5, 0.25]


def run_of(market: str = "gap", seed: int = 1, variant: Variant | None = None) -> Run:
    return Run(
        market=market,
        seed=seed,
        variant=variant or Variant("default", {}),
        steps=100,
        train_bars=4_000,
        test_bars=2_000,
        difficulty=0.0,
    )


def played(net: float, trades: float = 8.0) -> dict[str, Any]:
    return {"net": net, "error": 1.0, "trades": trades, "costs": 10.0, "sessions": 200}


def result_of(run: Run, net: float, oracle_net: float = 200.0) -> dict[str, Any]:
    """Return what a run with this final P&L would have left."""
    looks = [(10.0, 0.2), (20.0, 0.75), (30.0, 0.9), (40.0, 1.0)]
    curve: list[dict[str, Any]] = [
        {
            "steps": 100,
            "processor_s": seconds,
            "wall_s": seconds,
            "scale": 1.0,
            "oracle": played(oracle_net),
            "policy": played(part * net),
            "margins": MARGINS,
        }
        for seconds, part in looks
    ]
    scales = {"1": played(net), "0.5": played(net / 2)}
    removed = {"fvg": played(0.0), "momentum": played(net), "entry": played(net / 4)}
    rescaled = {"fvg": 0.5, "momentum": 1.0, "entry": 0.25}
    curve[-1] |= {
        "scales": scales,
        "without": removed,
        "without_rescaled": {
            agent: {"scale": part, "figures": played(part * net)}
            for agent, part in rescaled.items()
        },
    }
    return {
        "format": 1,
        "market": run.market,
        "seed": run.seed,
        "variant": run.variant.name,
        "changes": run.variant.changes,
        "asked": {"steps": run.steps, "train_bars": run.train_bars, "test_bars": run.test_bars},
        "difficulty": run.difficulty,
        "steps": 100,
        "processor_s": 40.0,
        "wall_s": 50.0,
        "sampled_trades_per_bar": {"first": 0.2, "last": 0.1},
        "curve": curve,
    }


def test_every_variant_of_every_question_is_a_configuration() -> None:
    for question in QUESTIONS.values():
        for variant in question.variants:
            config = run_of(variant=variant).config
            assert config.training.num_env_runners == 0
            changed = config != run_of().config
            assert changed == bool(variant.changes), variant.name


def test_changes_name_keys_and_presets() -> None:
    changed = configured({"training.gamma": 0.5, "rewards": "full", "rewards.shared": True})
    assert changed.training.gamma == 0.5
    assert changed.rewards.synergy_bonus == RewardConfig().synergy_bonus > 0
    assert changed.rewards.shared
    assert changed.rewards.pnl_scale == TacticalConfig().rewards.pnl_scale
    with pytest.raises(ConfigError, match="gama"):
        configured({"training.gama": 0.5})


def test_a_run_is_known_by_what_it_depends_on() -> None:
    renamed = run_of(variant=Variant("another name", {}))
    assert renamed.key == run_of().key
    others = [run_of(seed=2), run_of("noise"), run_of(variant=Variant("x", {"training.epochs": 2}))]
    assert len({run.key for run in [run_of(), *others]}) == 4
    assert unique([run_of(), renamed, *others]) == [renamed, *others]


def test_finished_runs_are_found_again_and_damaged_ones_refused(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    assert store.find(run_of()) is None
    store.keep(run_of(), result_of(run_of(), 100.0))
    assert store.find(run_of()) == result_of(run_of(), 100.0)
    assert store.find(run_of(seed=2)) is None
    renamed = Variant("the same by another name", {})
    assert store.find(run_of(variant=renamed)) == result_of(run_of(), 100.0)
    store.path(run_of()).write_text("{}")
    with pytest.raises(UnreadableError, match="not a result"):
        store.find(run_of())
    with pytest.raises(UsageError, match="--results must be a folder, found a file"):
        Store(store.path(run_of()))


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


def test_results_without_the_scales_chosen_anew_are_read() -> None:
    older, newer = (result_of(run_of(seed=seed), 100.0) for seed in (1, 2))
    del older["curve"][-1]["without_rescaled"]
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


def noise_answer(earned: list[float], sampled: float = 0.1) -> Answer:
    """Return the answer of one seed per net P&L; costs are $10, trades start at 0.2 a bar."""
    results = []
    for seed, net in enumerate(earned, start=1):
        run = run_of("noise", seed)
        result = result_of(run, net, oracle_net=-50.0)
        result["sampled_trades_per_bar"]["last"] = sampled
        results.append((run, result))
    return answer(QUESTIONS["learnability"], results)


def test_noise_is_told_in_dollars_beside_its_own_targets() -> None:
    """Net -9, -11, -13 with costs of 10: -1 before costs, with an error of 2 / sqrt 3 = 1.15."""
    found = noise_answer([-9.0, -11.0, -13.0])
    assert found.header[2] == "% of oracle; noise: $ per session"
    (cells,) = found.cells()
    assert cells[2] == "$-11.0 ± 1.2"
    assert cells[found.header.index("target")] == (
        "net + costs -1.0 ± 1.2 ≥ -2.3 met; sampled trades at the end 28.8 ± 0.0 ≤ 57.6 met"
    )
    assert cells[found.header.index("CPU s to 80%, of 4 evaluations")] == "-"
    net, gross, sampled = rows_of(found)
    assert (net.unit, net.target) == ("$ per session, mean ± s.e. of 3 seeds", None)
    assert gross.name == "learnability: noise, default, net + costs"
    assert gross.measurement.median == pytest.approx(-1.0)
    assert gross.target == pytest.approx(-4 / np.sqrt(3))
    assert gross.met
    assert sampled.met


@pytest.mark.parametrize(
    ("earned", "sampled", "met"),
    [
        ([-13.0, -14.0, -15.0], 0.1, [False, True]),
        ([-9.0, -11.0, -13.0], 0.3, [True, False]),
        ([-11.5], 0.1, [True, True]),  # one seed: twice the error over its sessions, 1
        ([-12.5], 0.1, [False, True]),
    ],
)
def test_losses_beyond_the_costs_and_more_trades_miss_the_targets_on_noise(
    earned: list[float], sampled: float, met: list[bool]
) -> None:
    found = noise_answer(earned, sampled)
    assert [row.met for row in rows_of(found)[1:]] == met
    cell = found.cells()[0][found.header.index("target")]
    assert [part.endswith("met") for part in cell.split("; ")] == met


def test_markets_with_an_edge_show_their_verdict() -> None:
    found = answer(QUESTIONS["learnability"], [(run_of(), result_of(run_of(), 150.0))])
    assert found.cells()[0][found.header.index("target")] == "≥ 80.0 missed"
    (row,) = rows_of(found)
    assert row.target == 80.0
    assert row.met is False


def test_commits_are_told_where_there_are_several(tmp_path: Path) -> None:
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
    write_page(tmp_path / PAGE, [several])
    assert several.note in (tmp_path / PAGE).read_text()


def test_processor_time_and_that_of_the_clock_are_told_apart() -> None:
    found = answer(QUESTIONS["learnability"], [(run_of(), result_of(run_of(), 100.0))])
    shown = dict(zip(found.header, found.cells()[0], strict=True))
    assert shown["CPU s to 80%, of 4 evaluations"] == "30"
    assert (shown["CPU s"], shown["wall s"]) == ("40", "50")


def test_noise_has_an_axis_of_its_own(tmp_path: Path) -> None:
    size = LearningSize(folder=tmp_path, seeds=1)
    keep_all(tmp_path, size.runs(QUESTIONS["learnability"]))
    for found in finished_answers(Store(tmp_path)):
        plot = plot_of(found)
        right = [trace for trace in plot["data"] if trace["yaxis"] == "y2"]
        assert ("yaxis2" in plot["layout"]) == bool(right)
        assert bool(right) == (found.question.name in ("learnability", "scale"))
        assert ("margin" in plot["layout"]) == bool(right)  # room for the axis
        if found.question.name == "agents":
            assert len({trace["marker"]["color"] for trace in plot["data"]}) == 7
        assert all("noise" in (*trace["x"], *trace["name"].split(", ")) for trace in right)


def test_statistics_by_hand() -> None:
    assert percent(-50.0, -100.0) == -50.0  # the oracle of a market without an edge loses
    # 80% of the final share of 50 is 40: the third look has 45
    assert seconds_to(result_of(run_of(), 100.0)) == 30.0


def test_a_neutral_vote_and_an_equal_size() -> None:
    votes = serving_votes(np.zeros((2, 3, 3)), 1.0)
    changed = without(votes, "entry")
    assert changed.index[:, 2].tolist() == [EXECUTE] * 2
    assert changed.confidence[:, 2].tolist() == [1.0] * 2
    np.testing.assert_array_equal(changed.index[:, :2], votes.index[:, :2])
    sizes = equal_size(Rules()).orders
    assert sizes.cap_execute == sizes.cap_aggressive == 1.0
    assert sizes.full_size_confidence < Rules().aggregation.execution_threshold


def test_without_an_agent_the_scale_is_chosen_anew() -> None:
    """All three say what the oracle says with logits 3, 0, 0: at scale 1 a confidence of 0.909.

    Without fvg the other two score 0.67 x 0.909 = 0.61 of the 0.65 that a trade needs; at scale 0.5
    they have a confidence of 0.995 and score 0.667. Smaller scales trade the same.
    """
    market = make_market("momentum", 3, 4_000)
    history = market.history()
    start, stop = history.first_decision, len(history)
    part = slice(start, stop)
    votes = oracle_votes("momentum", history.features.raw[part], history.features.close[part])
    found = 3.0 * np.eye(3)[votes.index]
    config = TacticalConfig()
    assert scale_without(config, history, found, start, stop, "fvg") == 0.5
    before = evaluated_without(config, history, found, start, stop, {"fvg": 1.0})["fvg"]
    assert before["scale"] == 1.0
    assert before["figures"]["trades"] == 0
    anew = evaluated_without(config, history, found, start, stop, {"fvg": 0.5})["fvg"]
    assert anew["figures"]["trades"] > 1
    assert anew["figures"]["net"] > 0


def test_the_oracle_earns_and_sessions_are_counted() -> None:
    market = make_market("momentum", 3, 4_000)
    history = market.history()
    found = oracle(market, history, history.first_decision, len(history))
    assert found.net > 1_000
    assert found.sessions == 12  # between the 13 closes after the warm-up
    assert 4 < found.trades < 14


def keep_all(folder: Path, runs: list[Run], net: float = 170.0) -> None:
    store = Store(folder)
    for run in runs:
        store.keep(run, result_of(run, net))


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
    assert gap.met
    assert by_name[f"learnability: noise, default {kind}"].target is None
    assert "| gap | default | 85.0 ± 0.0 | 2 |" in (tmp_path / TABLES).read_text()
    page = (tmp_path / PAGE).read_text()
    assert "plot-learnability-0" in page
    assert "http://" not in page.split("<script>")[0]


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
        for name in ("learnability", "agents", "scale", "preset")
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


def test_a_size_names_its_difficulty_where_there_is_one() -> None:
    size = Size(4_096, 5_000, unseen_bars(3), 0.5)
    assert str(size) == "4,096 steps, 5,000 training bars, 3 sessions, difficulty 0.5"
    assert Size.of(result_of(run_of(), 1.0)) == Size(100, 4_000, 2_000, 0.0)


def test_the_printed_table_has_room_for_names_with_sizes(tmp_path: Path) -> None:
    size = LearningSize(folder=tmp_path, questions=("agents",), seeds=1)
    keep_all(tmp_path, size.runs(QUESTIONS["agents"]))
    asked = ["--section", "learning", "--results", str(tmp_path), "--minutes", "0"]
    result = CliRunner().invoke(command.bench_command, asked)
    assert result.exit_code == 0, result.output
    name = "agents: momentum, momentum neutral, own scale"
    kind = "(409,600 steps, 400,000 training bars, 200 sessions), paired"
    assert f"{name} {kind}" in result.output
    assert "…" not in result.output


def test_results_of_other_defaults_are_left_out(tmp_path: Path) -> None:
    run = run_of()
    Store(tmp_path).keep(run, result_of(run, 100.0))
    path = Store(tmp_path).path(run)
    path.rename(path.with_name(path.name.replace(run.key, "0" * 16)))
    measure_learning(LearningSize(folder=tmp_path, minutes=0), lambda _: None)
    assert (tmp_path / TABLES).read_text() == "no finished runs with the present defaults\n"


def test_a_study_goes_with_its_section_only() -> None:
    with pytest.raises(UsageError, match="go with --section learning"):
        CliRunner().invoke(command.bench_command, ["--seeds", "2"], catch_exceptions=False)
    with pytest.raises(UsageError, match="moon"):
        LearningSize(questions=("moon",))
    assert "learning" not in command.DEFAULT_SECTIONS


@pytest.mark.ray
def test_trains_judges_and_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "local")  # never another test's cluster
    size = LearningSize(
        folder=tmp_path,
        questions=("learnability", "agents"),
        markets=("momentum",),
        seeds=1,
        steps=8_192,
        train_bars=5_000,
        sessions=3,
    )
    said: list[str] = []
    rows = measure_learning(size, said.append)
    assert not ray.is_initialized()
    assert said[0] == "0 of 1 runs are finished"
    assert len(rows) == 1 + 7 + 6  # a line each, and differences of the neutral votes
    (path,) = tmp_path.glob("*.json")
    result = json.loads(path.read_text())
    assert result["steps"] == 8_192
    assert result["commit"] == git_commit()
    last = result["curve"][-1]
    assert set(last["without"]) == {"fvg", "momentum", "entry"}
    assert set(last["without_rescaled"]) == {"fvg", "momentum", "entry"}
    assert len(last["scales"]) == len(TacticalConfig().training.temperature_scales)
    assert last["oracle"]["net"] > 0
    said.clear()
    assert [row.document() for row in measure_learning(size, said.append)] == [
        row.document() for row in rows
    ]
    assert said[0] == "1 of 1 runs are finished"


@pytest.mark.ray
def test_a_run_that_fails_without_a_message_is_named_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(run: Run) -> dict[str, Any]:
        raise MemoryError if run.market == "gap" else ValueError("first line\nlast line")

    monkeypatch.setenv("RAY_ADDRESS", "local")  # never another test's cluster
    monkeypatch.setattr("rllib_tactical.study.run.train_run", fails)
    size = LearningSize(
        folder=tmp_path, questions=("learnability",), markets=("gap", "momentum"), seeds=1
    )
    with pytest.raises(TrainingError, match="2 runs failed") as raised:
        measure_learning(size, lambda _: None)
    assert "gap seed 1, default: MemoryError" in str(raised.value)
    assert "momentum seed 1, default: last line" in str(raised.value)
