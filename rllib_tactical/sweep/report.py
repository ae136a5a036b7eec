"""The report of a sweep: one HTML file that opens without a network."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from rllib_tactical.backtest.report.tables import statistics_cells, tone
from rllib_tactical.data.interpret.interpretation import interpretation_of_data
from rllib_tactical.data.sizing import SIZE_FROM, size_text
from rllib_tactical.reporting.format import dollars
from rllib_tactical.reporting.html import render_page
from rllib_tactical.statistics.significance import Significance, in_words
from rllib_tactical.sweep.history import TrialHistory, best_trial
from rllib_tactical.sweep.space import Domain
from rllib_tactical.sweep.spec import SweepSpec

PACKAGE: Final = "rllib_tactical.sweep"

Plot = dict[str, Any]

BEST, OTHER, STOPPED = "#1d4ed8", "#93c5fd", "#d1d5db"
CURVES: Final = 60
"""Most learning curves that are drawn: the best ones."""


def render_sweep(
    spec: SweepSpec,
    plan: dict[str, Any],
    trials: dict[int, TrialHistory],
    significance: Significance | None,
    importance: dict[str, float] | None,
) -> str:
    """Return the report as one HTML document."""
    scored = sorted(
        (trial for trial in trials.values() if trial.score is not None),
        key=lambda trial: (-(trial.score or 0.0), trial.number),
    )
    best = best_trial(scored)
    plots = {
        "parallel": parallel_plot(spec.domains.domains, scored),
        "curves": curves_plot(scored[:CURVES]),
    }
    if importance is not None:
        plots["importance"] = importance_plot(importance)
    keys = [domain.key for domain in spec.domains.domains]
    return render_page(
        PACKAGE,
        "sweep.html.j2",
        plots,
        title=f"Sweep: {spec.description or spec.search}",
        verdict=_verdict(best, len(scored), significance),
        tone=tone(
            0.0 if best is None else best.score or 0.0,
            None if significance is None else significance.outcome,
        ),
        cards=_cards(spec, trials, scored),
        statistics=statistics_cells(significance),
        has_importance=importance is not None,
        keys=keys,
        table=[_row(trial, keys, best) for trial in scored]
        + [_row(trial, keys, best) for trial in trials.values() if trial.score is None],
        changes=[(trial.number, change) for trial in scored for change in trial.changes],
        curves=min(len(scored), CURVES),
        facts=_facts(spec, plan),
    )


def parallel_plot(domains: tuple[Domain, ...], trials: list[TrialHistory]) -> Plot:
    """Return one line per trial through its values and its result, colored by the result."""
    scores = [trial.score or 0.0 for trial in trials]
    axes = [_axis(domain, trials) for domain in domains]
    axes.append({"label": "validation, $", "values": [round(score, 2) for score in scores]})
    return {
        "data": [
            {
                "type": "parcoords",
                "line": {
                    "color": scores,
                    "colorscale": "Viridis",
                    "showscale": True,
                    "colorbar": {"title": {"text": "$"}},
                },
                "dimensions": axes,
                "labelangle": -12,
                "labelside": "bottom",
            }
        ],
        "layout": {"height": 420, "margin": {"l": 80, "r": 80, "t": 30, "b": 90}},
    }


def _axis(domain: Domain, trials: list[TrialHistory]) -> Plot:
    values = [_plain(trial.params[domain.key]) for trial in trials]
    if domain.kind == "choice":
        names = [str(_plain(value)) for value in domain.values]
        return {
            "label": domain.key,
            "values": [names.index(str(value)) for value in values],
            "tickvals": list(range(len(names))),
            "ticktext": names,
            "range": [0, max(1, len(names) - 1)],
        }
    low, high = float(domain.values[0]), float(domain.values[-1])
    if domain.kind == "log_uniform":
        ticks = np.geomspace(low, high, 5).tolist()
        return {
            "label": domain.key,
            "values": [math.log10(value) for value in values],
            "tickvals": [math.log10(tick) for tick in ticks],
            "ticktext": [f"{tick:.2g}" for tick in ticks],
            "range": [math.log10(low), math.log10(high)],
        }
    return {"label": domain.key, "values": values, "range": [low, high]}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def curves_plot(trials: list[TrialHistory]) -> Plot:
    """Return validation net P&L by iteration, a line per trial; the first trial is the best."""
    traces = []
    for place, trial in reversed(list(enumerate(trials))):
        color = BEST if place == 0 else STOPPED if trial.status == "stopped early" else OTHER
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": f"trial {trial.number}",
                "x": [row["iteration"] for row in trial.curve],
                "y": [round(row["net_pnl"], 2) for row in trial.curve],
                "line": {"color": color, "width": 2.4 if place == 0 else 1.2},
                "marker": {"size": 4},
                "hovertemplate": f"trial {trial.number}, iteration %{{x}}<br>%{{y:$,.0f}}",
                "showlegend": place == 0,
            }
        )
    return {
        "data": traces,
        "layout": {
            "height": 380,
            "xaxis": {"title": {"text": "iteration"}, "rangemode": "tozero"},
            "yaxis": {"title": {"text": "validation net P&L, $"}, "zeroline": True},
            "hovermode": "closest",
        },
    }


def importance_plot(importance: dict[str, float]) -> Plot:
    """Return a bar per key, the largest on top."""
    keys = list(importance)[::-1]
    return {
        "data": [
            {
                "type": "bar",
                "orientation": "h",
                "x": [round(importance[key], 4) for key in keys],
                "y": keys,
                "marker": {"color": BEST},
                "hovertemplate": "%{y}<br>%{x:.0%}",
            }
        ],
        "layout": {
            "height": max(180, 60 + 28 * len(keys)),
            "margin": {"l": 230, "r": 20, "t": 10, "b": 40},
            "xaxis": {"tickformat": ".0%", "range": [0, 1]},
        },
    }


def _verdict(best: TrialHistory | None, count: int, significance: Significance | None) -> str:
    if best is None:
        return "No trial has a result."
    if not best.traded:
        return (
            f"The best of {count} trials makes no trade: none earns anything on the validation "
            "bars by the serving rule, and no bundle was made."
        )
    text = (
        f"The best of {count} trials is trial {best.number}: {dollars(best.score or 0.0)} on the "
        "validation bars that chose it."
    )
    return text if significance is None else f"{text} {in_words(significance)}"


def _cards(
    spec: SweepSpec, trials: dict[int, TrialHistory], scored: list[TrialHistory]
) -> list[tuple[str, str]]:
    by_status = [trial.status for trial in trials.values()]
    results = [trial.score or 0.0 for trial in scored]
    return [
        ("Trials", f"{spec.trials}"),
        ("Finished", f"{by_status.count('finished')}"),
        ("Stopped early", f"{by_status.count('stopped early')}"),
        ("Failed", f"{by_status.count('failed')}"),
        ("Best", dollars(max(results)) if results else "-"),
        ("Median", dollars(float(np.median(results))) if results else "-"),
        ("Training time", f"{sum(trial.seconds for trial in scored) / 60:,.1f} min"),
    ]


def _row(trial: TrialHistory, keys: list[str], best: TrialHistory | None) -> dict[str, Any]:
    row = trial.best or {}
    return {
        "name": "policy" if trial is best else "",
        "number": trial.number,
        "status": trial.status,
        "reason": trial.reason or "",
        "net_pnl": "-" if trial.score is None else dollars(trial.score),
        "trades": row.get("trades", "-"),
        "scale": f"{row['temperature_scale']:g}" if row else "-",
        "iteration": row.get("iteration", "-"),
        "iterations": max(trial.results, default=0),
        "seconds": f"{trial.seconds:,.0f}",
        "values": [_text(trial.params.get(key, "-")) for key in keys],
    }


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(_plain(value))


def _facts(spec: SweepSpec, plan: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    parts = tuple(
        (part["instrument"]["symbol"], f"{part['data']['name']}, SHA-256 {part['data']['sha256']}")
        for part in plan["parts"]
    )
    sizes = tuple(
        (
            f"size of {part['instrument']['symbol']}",
            size_text(part["instrument"]["base_quantity"], part["data"].get(SIZE_FROM)),
        )
        for part in plan["parts"]
    )
    read = tuple(
        (f"{part['instrument']['symbol']} read as", interpretation_of_data(part["data"]))
        for part in plan["parts"]
    )
    training = spec.config.training
    return (
        ("search", f"{spec.search}, seed {spec.seed}"),
        ("scheduler", spec.scheduler),
        ("training", f"{training.iterations} iterations of {training.update_steps:,} steps"),
        *parts,
        *sizes,
        *read,
        ("sweep", plan["identity"]),
        ("program", plan["git_commit"] or "unknown commit"),
    )
