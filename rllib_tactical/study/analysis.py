"""From finished runs to answers: means over seeds with standard errors, paired differences."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from rllib_tactical.bench.measurement import Row, mean_over_seeds, standard_error
from rllib_tactical.domain.types import AGENTS
from rllib_tactical.study.experiments import REGRESSION, Question, Run, Size
from rllib_tactical.study.run import EVALUATIONS, WIN_RATE
from rllib_tactical.study.score import (
    DOLLARS,
    NOISE,
    OF_ORACLE,
    curve_of,
    final_score,
    score,
    seconds_to,
    unit_of,
    with_error,
)
from rllib_tactical.study.targets import Target, seeds_unit, targets_of

Results = list[tuple[Run, dict[str, Any]]]

_STAGES: Final = {"best": "after updates", "regression": "regression alone"}


@dataclass(frozen=True, slots=True)
class Line:
    """One variant on one market over its seeds.

    ``values`` by seed, in the unit of the market; ``against`` differences to the first variant on
    the same seeds; ``cells`` further columns as texts; ``curves`` by seed, see ``curve_of``.
    """

    market: str
    variant: str
    values: dict[int, float]
    against: dict[int, float]
    cells: dict[str, str]
    curves: tuple[tuple[int, tuple[tuple[float, float], ...]], ...] = ()
    targets: tuple[Target, ...] = ()

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return float(np.mean(list(self.values.values())))

    @property
    def error(self) -> float:
        """Standard error over the seeds, NaN for one."""
        return standard_error(list(self.values.values()))


@dataclass(frozen=True, slots=True)
class Answer:
    """A question with one line per market and variant that has finished runs.

    ``size`` of the runs where answers of several sizes are reported together, else None. ``note``
    is printed under the table unless empty.
    """

    question: Question
    lines: tuple[Line, ...]
    size: Size | None = None
    note: str = ""

    @property
    def title(self) -> str:
        """The question, and the size of its runs."""
        return self.question.title if self.size is None else f"{self.question.title} ({self.size})"

    @property
    def header(self) -> tuple[str, ...]:
        """Headings of ``cells``."""
        extra = tuple(self.lines[0].cells) if self.lines else ()
        noise = any(line.market == NOISE for line in self.lines)
        unit = f"{OF_ORACLE}; {NOISE}: {DOLLARS}" if noise else OF_ORACLE
        return ("market", "variant", unit, "n", "difference, paired", *extra)

    def cells(self) -> list[tuple[str, ...]]:
        """Return the table's cells as texts."""
        return [
            (
                line.market,
                line.variant,
                ("$" if line.market == NOISE else "") + with_error(list(line.values.values())),
                str(len(line.values)),
                with_error(list(line.against.values()), signed=True) if line.against else "",
                *line.cells.values(),
            )
            for line in self.lines
        ]

    def text(self) -> str:
        """Return the table as text, ready for a Markdown page."""
        if not self.lines:
            return f"{self.title}\n\nno finished runs"
        rows = [self.header, tuple("---" for _ in self.header), *self.cells()]
        note = ["", self.note] if self.note else []
        return "\n".join([self.title, "", *("| " + " | ".join(row) + " |" for row in rows), *note])


def answer(question: Question, results: Results, size: Size | None = None) -> Answer:
    """Return the answer that finished runs give to a question; ``size`` if it is to be shown."""
    if question.name == "agents":
        lines = _agents(results)
    elif question.name == "scale":
        lines = _scales(results)
    elif question.name == REGRESSION:
        lines = _regressions(results)
    else:
        lines = _variants(question, results)
    return Answer(question, tuple(lines), size, _commits(results))


def _commits(results: Results) -> str:
    """Return a note when the results are of several commits, else an empty text.

    Results of older versions name no commit; they count as one commit, "unknown".
    """
    counts = Counter(found.get("commit") or "unknown" for _, found in results)
    if len(counts) < 2:
        return ""
    shown = (f"{_short(name)} ({count})" for name, count in sorted(counts.items()))
    return f"Results of {len(counts)} commits (runs): {', '.join(shown)}."


def _short(commit: str) -> str:
    """Return a commit's first digits, with the mark of a changed checkout."""
    digits, dash, dirty = commit.partition("-")
    return f"{digits[:10]}{dash}{dirty}"


def rows_of(found: Answer) -> list[Row]:
    """Return the bench table's rows of an answer."""
    rows = []
    for line in found.lines:
        name = f"{found.question.name}: {line.market}, {line.variant}"
        if found.size is not None:
            name += f" ({found.size})"
        own = [each.row(name) for each in line.targets]
        if all(each.name for each in line.targets):
            own.insert(0, _row(name, unit_of(line.market), line.values))
        rows.extend(own)
        if line.against:
            unit = DOLLARS if line.market == NOISE else "points"
            rows.append(_row(f"{name}, paired", unit, line.against))
    return rows


def _row(name: str, unit: str, values: dict[int, float]) -> Row:
    measurement = mean_over_seeds(list(values.values()))
    return Row(name=name, unit=seeds_unit(unit, len(values)), measurement=measurement)


def _variants(question: Question, results: Results) -> list[Line]:
    lines = []
    for market in question.markets:
        first: dict[int, float] = {}
        for k, variant in enumerate(question.variants):
            mine = [
                found for run, found in results if (run.market, run.variant) == (market, variant)
            ]
            if not mine:
                continue
            values = {found["seed"]: final_score(found) for found in mine}
            if k == 0:
                first = values
            pairs = {seed: v - first[seed] for seed, v in values.items() if k and seed in first}
            curves = tuple((found["seed"], curve_of(found)) for found in mine)
            cells = _cells(mine)
            targets: tuple[Target, ...] = ()
            if question.name == "learnability":
                targets = targets_of(mine)
                cells = {"target": "; ".join(each.text() for each in targets), **cells}
            lines.append(Line(market, variant.name, values, pairs, cells, curves, targets))
    return lines


def _cells(results: list[dict[str, Any]]) -> dict[str, str]:
    last = [found["best"] for found in results]
    reached = [seconds for found in results if (seconds := seconds_to(found)) == seconds]
    policy = [point["policy"] for point in last]
    return {
        "net $/session": with_error([each["net"] for each in policy], digits=0),
        "oracle $": with_error([point["oracle"]["net"] for point in last], digits=0),
        "trades": with_error([each["trades"] for each in policy]),
        "oracle's": f"{np.mean([point['oracle']['trades'] for point in last]):.1f}",
        "win rate": _rates(policy),
        **_for_target(results),
        "costs $": f"{np.mean([each['costs'] for each in policy]):.0f}",
        "scale": " ".join(f"{point['scale']:g}" for point in last),
        "sampled trades/session first, last": ", ".join(
            f"{np.mean([288 * found['sampled_trades_per_bar'][key] for found in results]):.1f}"
            for key in ("first", "last")
        ),
        "margin fvg, momentum": ", ".join(
            with_error(
                [point["margins"][k] for point in last if "margins" in point] or [np.nan], digits=2
            )
            for k in (0, 1)
        ),
        f"CPU s to 80%, of {EVALUATIONS} evaluations": f"{np.mean(reached):.0f}"
        if reached
        else "-",
        "CPU s": f"{np.mean([found['processor_s'] for found in results]):.0f}",
        "wall s": f"{np.mean([found['wall_s'] for found in results]):.0f}",
        "steps": f"{np.mean([found['steps'] for found in results]):,.0f}",
    }


def _rates(played: list[dict[str, Any]]) -> str:
    """Return the mean win rate of those that traded."""
    rates = [each["win_rate"] for each in played if each["win_rate"] is not None]
    return f"{np.mean(rates):.0%}" if rates else "-"


def _for_target(results: list[dict[str, Any]]) -> dict[str, str]:
    """Return what the thresholds chosen for a win rate bring; the coupled market has none."""
    if any("win_rate" not in found["best"] for found in results):
        return {}
    figures = [found["best"]["win_rate"]["figures"] for found in results]
    scores = [
        score(found["market"], each, found["best"]["oracle"])
        for found, each in zip(results, figures, strict=True)
    ]
    trades = [each["trades"] for each in figures]
    shown = f"{with_error(scores)}, {with_error(trades)}, {_rates(figures)}"
    return {f"for {WIN_RATE:.0%}: score, trades, win rate": shown}


def _agents(results: Results) -> list[Line]:
    lines = []
    for market in dict.fromkeys(run.market for run, _ in results):
        mine = [found for run, found in results if run.market == market]
        last = {found["seed"]: found["best"] for found in mine}
        whole = {seed: (point["scale"], point["policy"]) for seed, point in last.items()}
        lines.append(_ablation(market, "all three", whole, last))
        for agent in AGENTS:
            kept = {seed: (point["scale"], point["without"][agent]) for seed, point in last.items()}
            lines.append(_ablation(market, f"{agent} neutral", kept, last))
            # results of older versions lack it
            rescaled = {
                seed: (found["scale"], found["figures"])
                for seed, point in last.items()
                if (found := point.get("without_rescaled", {}).get(agent))
            }
            if rescaled:
                lines.append(_ablation(market, f"{agent} neutral, own scale", rescaled, last))
    return lines


def _regressions(results: Results) -> list[Line]:
    """Return the policies of training, and the actors as pre-training left them beside."""
    lines = []
    for market in dict.fromkeys(run.market for run, _ in results):
        # none with sampled credit
        mine = [found for run, found in results if run.market == market and found["regression"]]
        last = {found["seed"]: found["best"] for found in mine}
        for name in ("best", "regression") if mine else ():
            played = {
                found["seed"]: (found[name]["scale"], found[name]["policy"]) for found in mine
            }
            lines.append(_ablation(market, _STAGES[name], played, last))
    return lines


def _ablation(
    market: str,
    name: str,
    played: dict[int, tuple[float, dict[str, Any]]],
    last: dict[int, dict[str, Any]],
) -> Line:
    """Return a line of scale and performance by seed, compared with the policy of ``last``."""
    values, pairs = {}, {}
    for seed, (_, performance) in played.items():
        point = last[seed]
        values[seed] = score(market, performance, point["oracle"])
        if performance is not point["policy"]:
            pairs[seed] = values[seed] - score(market, point["policy"], point["oracle"])
    cells = {
        "trades": with_error([performance["trades"] for _, performance in played.values()]),
        "win rate": _rates([performance for _, performance in played.values()]),
        "scale": " ".join(f"{scale:g}" for scale, _ in played.values()),
    }
    return Line(market, name, values, pairs, cells)


def _scales(results: Results) -> list[Line]:
    lines = []
    for market in dict.fromkeys(run.market for run, _ in results):
        mine = [found for run, found in results if run.market == market]
        chosen = {found["seed"]: final_score(found) for found in mine}
        trades = [found["best"]["policy"]["trades"] for found in mine]
        lines.append(
            Line(market, "chosen on validation", chosen, {}, {"trades": with_error(trades)})
        )
        scales = mine[0]["best"]["scales"]
        for scale in scales:
            played = {found["seed"]: found["best"]["scales"].get(scale) for found in mine}
            kept = {seed: each for seed, each in played.items() if each}
            values = {
                found["seed"]: score(market, kept[found["seed"]], found["best"]["oracle"])
                for found in mine
                if found["seed"] in kept
            }
            pairs = {seed: value - chosen[seed] for seed, value in values.items()}
            trades = [each["trades"] for each in kept.values()]
            lines.append(Line(market, scale, values, pairs, {"trades": with_error(trades)}))
    return lines
