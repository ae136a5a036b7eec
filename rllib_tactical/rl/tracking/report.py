"""The training report: one HTML file with curves, which opens without a network."""

from __future__ import annotations

import html
import math
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from rllib_tactical.artifacts.atomic import atomic_write_text
from rllib_tactical.artifacts.json_file import write_object
from rllib_tactical.artifacts.run_folder import RunFolder, score_of
from rllib_tactical.backtest.report.tables import tone
from rllib_tactical.data.interpret.interpretation import interpretation_of_data
from rllib_tactical.data.sizing import SIZE_FROM, size_text
from rllib_tactical.domain.types import AGENTS, NUM_ACTIONS, FloatArray, IntArray
from rllib_tactical.reporting.format import NOTHING, dollars, number, percent
from rllib_tactical.reporting.html import render_page
from rllib_tactical.reporting.plots import DOWN, NEUTRAL, UP, Plot, thin
from rllib_tactical.rl.algorithm.convergence import CONVERGED_BELOW, TREND_ITERATIONS
from rllib_tactical.rl.training.callbacks import Row, TrainingCallback, TrainingRun

PACKAGE: Final = "rllib_tactical.rl.tracking"

REPORT: Final = "training_report.html"
SUMMARY: Final = "training_report.json"
MAX_POINTS: Final = 1_500
MAX_LINES: Final = 100
"""Most validations in the table, besides the best one."""
COLORS: Final = {"fvg": "#1d4ed8", "momentum": "#d97706", "entry": "#0d9488"}
STAGE: Final = "#a855f7"
LEVELS: Final = {"entropy": (math.log(NUM_ACTIONS),), "variation": (CONVERGED_BELOW,)}
"""Dotted lines: the entropy of uniform actions; the limit of convergence."""

PER_AGENT: Final = {
    "rewards": ("reward", "mean episode reward"),
    "entropy": ("entropy", "nats"),
    "policy_loss": ("policy_loss", "loss"),
    "kl": ("kl", "KL"),
    "clip": ("clip_fraction", "share of samples"),
}
SINGLE: Final = {
    "value_loss": ("value_loss", "loss"),
    "explained": ("value_explained_variance", "share"),
    "training_pnl": ("pnl", "$ an iteration"),
    "training_trades": ("trades", "trades an iteration"),
    "bonus": ("bonus_share", "share of the reward"),
    "variation": ("reward_cv", "coefficient of variation"),
    "speed": ("steps_per_s", "account steps a second"),
}
"""Curves by the id of their element: metric and title of the axis."""

Marks = list[tuple[int, str]]


class HtmlReport(TrainingCallback):
    """Writes the report, as HTML and as JSON, into the run folder with every checkpoint."""

    def on_checkpoint(self, run: TrainingRun, path: Path) -> None:
        """Write the report of everything so far."""
        write_training_report(run.folder)


def write_training_report(folder: RunFolder) -> None:
    """Write the report of a run beside its other files, each in one step."""
    history = _History.read(folder)
    atomic_write_text(folder.path / REPORT, render_training_report(folder, history))
    write_object(folder.path / SUMMARY, training_summary(folder, history))


def training_summary(folder: RunFolder, history: _History | None = None) -> dict[str, Any]:
    """Return what the report says as plain values: newest metrics, the best and all validations."""
    run, validations = folder.read(), folder.validations()
    training = run["config"]["training"]
    history = history or _History.read(folder)
    best = _best(validations, training["validation"]["best_by"])
    return {
        "symbols": _symbols(run),
        "verdict": _verdict(len(history.iteration), best, training),
        "iterations": len(history.iteration),
        "best_by": training["validation"]["best_by"],
        "best": best,
        "last": history.last,
        "validations": validations,
    }


def render_training_report(folder: RunFolder, history: _History | None = None) -> str:
    """Return the report as one HTML document, from what the run folder holds."""
    run, validations = folder.read(), folder.validations()
    history = history or _History.read(folder)
    last = history.last
    training = run["config"]["training"]
    stages = [stage["name"] for stage in training.get("curriculum", ())]
    best = _best(validations, training["validation"]["best_by"])
    return render_page(
        PACKAGE,
        "training.html.j2",
        _plots(history, validations, stages),
        title=f"Training of {', '.join(_symbols(run))}",
        verdict=_verdict(len(history.iteration), best, training),
        # what a validation that chose the checkpoint earned is no evidence of an edge
        tone=tone(0.0 if best is None else best["net_pnl"], None),
        cards=_cards(last, validations, best),
        episodes=_episode_rows(last),
        trends=_trends(last),
        trend_iterations=TREND_ITERATIONS,
        validations=_validation_cells(validations, best, stages),
        best_by=training["validation"]["best_by"].replace("_", " "),
        converged_below=percent(CONVERGED_BELOW),
        has_validations=bool(validations),
        facts=_facts(run),
    )


@dataclass(frozen=True, slots=True)
class _History:
    """The plotted metrics as columns (K,): the rows of a long run would not fit into memory."""

    iteration: IntArray
    steps: IntArray
    stage: IntArray
    columns: dict[str, FloatArray]
    last: Row

    @classmethod
    def read(cls, folder: RunFolder) -> _History:
        metrics = [f"{metric}_{agent}" for metric, _ in PER_AGENT.values() for agent in AGENTS]
        metrics += [metric for metric, _ in SINGLE.values()]
        columns = {name: array("d") for name in metrics}
        whole = {name: array("q") for name in ("iteration", "env_steps", "stage")}
        last: Row = {}
        for last in folder.each_progress():
            for name, column in columns.items():
                value = last.get(name)
                column.append(math.nan if value is None else value)
            for name, found in whole.items():
                found.append(last.get(name, 0))
        numbers = {name: np.array(found, dtype=np.int64) for name, found in whole.items()}
        return cls(
            iteration=numbers["iteration"],
            steps=numbers["env_steps"],
            stage=numbers["stage"],
            columns={name: np.array(column) for name, column in columns.items()},
            last=last,
        )


def _plots(history: _History, validations: list[Row], stages: list[str]) -> dict[str, Plot]:
    marks = _stage_marks(history, stages)
    plots = {
        name: _plot(
            [_curve(history, f"{metric}_{agent}", agent, COLORS[agent]) for agent in AGENTS],
            title,
            marks,
            LEVELS.get(name, ()),
        )
        for name, (metric, title) in PER_AGENT.items()
    }
    for name, (metric, title) in SINGLE.items():
        curve = _curve(history, metric, title, COLORS["fvg"])
        plots[name] = _plot([curve], title, marks, LEVELS.get(name, ()))
    plots["variation"]["layout"]["yaxis"]["type"] = "log"
    plots["validation"] = _validation_plot(validations, marks)
    return plots


def _validation_plot(validations: list[Row], marks: Marks) -> Plot:
    def points(key: str, label: str, color: str, axis: str, mode: str) -> Plot:
        return {
            "type": "scatter",
            "mode": mode,
            "name": label,
            "x": [row["env_steps"] for row in validations],
            "y": [row[key] for row in validations],
            "yaxis": axis,
            "line": {"color": color, "dash": "dot" if axis == "y2" else "solid"},
            "text": [f"iteration {row['iteration']}" for row in validations],
            "hovertemplate": "%{text}: %{y:,.0f}",
        }

    traces = [
        points("net_pnl", "net P&L, $", UP, "y", "lines+markers"),
        points("trades", "trades by the serving rule", NEUTRAL, "y2", "lines"),
        points("training_rule_trades", "trades by the training rule", DOWN, "y2", "lines"),
    ]
    plot = _plot(traces, "net P&L, $", marks)
    plot["layout"]["yaxis2"] = {
        "overlaying": "y",
        "side": "right",
        "title": {"text": "trades"},
        "showgrid": False,
        "rangemode": "tozero",
        "tickmode": "auto",
    }
    plot["layout"]["margin"] = {"l": 64, "r": 60, "t": 24, "b": 36}
    return plot


def _curve(history: _History, metric: str, label: str, color: str) -> Plot:
    """Return a metric over the steps, thinned, with a gap where it is undefined."""
    values = history.columns[metric]
    chosen = thin(np.nan_to_num(values), MAX_POINTS) if len(values) else np.arange(0)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": label,
        "x": history.steps[chosen].tolist(),
        "y": [None if math.isnan(y) else float(f"{y:.6g}") for y in values[chosen].tolist()],
        "text": [f"iteration {number}" for number in history.iteration[chosen].tolist()],
        "hovertemplate": "%{text}: %{y:.4g}",
        "line": {"color": color, "width": 1.4},
    }


def _plot(traces: list[Plot], title: str, marks: Marks, levels: tuple[float, ...] = ()) -> Plot:
    layout = {
        "height": 300,
        "xaxis": {"title": {"text": "account steps"}},
        "yaxis": {"title": {"text": title}},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        "showlegend": len(traces) > 1,
        "hovermode": "x",
        "shapes": [_stage_line(at) for at, _ in marks] + [_level(value) for value in levels],
        "annotations": [_stage_label(at, name) for at, name in marks],
    }
    return {"data": traces, "layout": layout}


def _stage_marks(history: _History, stages: list[str]) -> Marks:
    """Return the steps at which each stage begins, and its name."""
    if not stages or not len(history.stage):
        return []
    begins = [0, *(np.flatnonzero(np.diff(history.stage)) + 1).tolist()]
    steps = [0, *history.steps.tolist()]
    return [(steps[k], stages[int(history.stage[k])]) for k in begins]


def _stage_line(at: int) -> Plot:
    line = {"color": STAGE, "width": 1, "dash": "dash"}
    return {"type": "line", "x0": at, "x1": at, "yref": "paper", "y0": 0, "y1": 1, "line": line}


def _stage_label(at: int, name: str) -> Plot:
    return {
        "x": at,
        "yref": "paper",
        "y": 1,
        "text": html.escape(name),  # plotly interprets some HTML in labels
        "showarrow": False,
        "xanchor": "left",
        "font": {"size": 10, "color": STAGE},
    }


def _level(value: float) -> Plot:
    return {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": value,
        "y1": value,
        "line": {"color": NEUTRAL, "width": 1, "dash": "dot"},
    }


def _best(validations: list[Row], best_by: str) -> Row | None:
    """Return the best validation by the rule of ``RunFolder.best``, its checkpoint kept or not."""
    last_stage = max((row["stage"] for row in validations), default=0)
    scored = [
        (score, row["iteration"], i)
        for i, row in enumerate(validations)
        if row["stage"] == last_stage and (score := score_of(row, best_by)) is not None
    ]
    return validations[max(scored)[2]] if scored else None


def _verdict(iterations: int, best: Row | None, training: dict[str, Any]) -> str:
    done = f"{iterations:,} of {training['iterations']:,} iterations are done."
    if best is None:
        return f"{done} Nothing has been validated yet."
    return (
        f"{done} Best so far: iteration {best['iteration']:,} with {dollars(best['net_pnl'])} net "
        f"in {best['trades']:,} trades on validation bars by the serving rule."
    )


def _cards(last: Row, validations: list[Row], best: Row | None) -> list[tuple[str, str]]:
    newest = validations[-1] if validations else None
    seconds = int(last.get("total_seconds", 0))
    variation = last.get("reward_cv")
    return [
        ("Account steps", f"{last.get('env_steps', 0):,}"),
        ("Training time", f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"),
        ("Episodes", f"{last.get('episodes', 0):,}"),
        ("Best validation", NOTHING if best is None else dollars(best["net_pnl"])),
        ("Newest validation", NOTHING if newest is None else dollars(newest["net_pnl"])),
        ("Trades a day", NOTHING if newest is None else number(newest["trades_per_day"])),
        ("Variation of rewards", percent(variation)),
    ]


def _episode_rows(last: Row) -> list[tuple[str, str]]:
    """Return what is known of the last episodes: reward of all agents together, and length."""

    def text(name: str, digits: int = 3) -> str:
        return number(last.get(name), digits)

    since = last.get("episodes_since_convergence")
    return [
        ("episodes so far", f"{last.get('episodes', 0):,}"),
        ("mean length, bars", text("episode_length", 1)),
        ("mean reward", text("reward_mean")),
        ("best reward", text("reward_best")),
        ("worst reward", text("reward_worst")),
        ("standard deviation", text("reward_deviation")),
        ("coefficient of variation", percent(last.get("reward_cv"))),
        ("episodes since convergence", "not converged" if since is None else f"{since:,}"),
    ]


def _trends(last: Row) -> list[dict[str, str]]:
    return [
        {
            "name": name.removeprefix("trend_").replace("_", " "),
            "now": f"{last[name.removeprefix('trend_')]:.4g}",
            "change": percent(value),
        }
        for name, value in last.items()
        if name.startswith("trend_")
    ]


def _validation_cells(
    validations: list[Row], best: Row | None, stages: list[str]
) -> list[dict[str, str]]:
    oldest = validations[-MAX_LINES:][0]["iteration"] if validations else 0
    return [
        {
            "iteration": f"{row['iteration']:,}",
            "stage": stages[row["stage"]] if stages else "",
            "net_pnl": dollars(row["net_pnl"]),
            "sharpe": number(row["sharpe"]),
            "trades": f"{row['trades']:,}",
            "win_rate": percent(row.get("win_rate")),
            "per_day": number(row["trades_per_day"]),
            "training_rule": f"{row['training_rule_trades']:,}",
            "scale": f"{row['temperature_scale']:g}",
            "share": percent(row["oracle_share"]),
            "best": "policy" if row is best else "",
        }
        for row in reversed(validations)
        if row is best or row["iteration"] >= oldest
    ]


def _symbols(run: dict[str, Any]) -> list[str]:
    return [part["instrument"]["symbol"] for part in run["parts"]]


def _facts(run: dict[str, Any]) -> list[tuple[str, str]]:
    facts = [
        (f"bars of {part['instrument']['symbol']}", f"{part['data']['name']}, SHA-256 "
         f"{part['data']['sha256']}")
        for part in run["parts"]
    ]  # fmt: skip
    facts += [
        (f"size of {part['instrument']['symbol']}",
         size_text(part["instrument"]["base_quantity"], part["data"].get(SIZE_FROM)))
        for part in run["parts"]
    ]  # fmt: skip
    facts += [
        (f"{part['instrument']['symbol']} read as", interpretation_of_data(part["data"]))
        for part in run["parts"]
    ]
    warm = run.get("warm_start")
    if warm:
        facts.append(("warm start", f"{warm['layers']} layers of {warm['name']}"))
    versions = ", ".join(f"{name} {found}" for name, found in run.get("versions", {}).items())
    return [
        *facts,
        ("seed", str(run["config"]["training"]["seed"])),
        ("configuration", run["config_hash"]),
        ("commit", str(run.get("git_commit"))),
        ("versions", versions),
    ]
