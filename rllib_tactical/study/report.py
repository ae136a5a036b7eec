"""The HTML report of the study: a table and a plot per question, in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from rllib_tactical.artifacts.atomic import atomic_write_text
from rllib_tactical.reporting.html import render_page
from rllib_tactical.study.analysis import Answer, Line
from rllib_tactical.study.score import DOLLARS, NOISE, OF_ORACLE, unit_of

PACKAGE: Final = "rllib_tactical.study"

AXES = {OF_ORACLE: "y", DOLLARS: "y2"}
COLORS = ("#1d4ed8", "#d97706", "#0d9488", "#db2777", "#a855f7", "#6b7280", "#65a30d")


def write_page(path: Path, answers: list[Answer]) -> None:
    """Write the report of all answers that have finished runs."""
    shown = [each for each in answers if each.lines]
    names = [f"{each.question.name}-{k}" for k, each in enumerate(shown)]
    plots = {f"plot-{name}": plot_of(each) for name, each in zip(names, shown, strict=True)}
    sections = [
        {
            "name": name,
            "title": each.title,
            "header": each.header,
            "rows": each.cells(),
        }
        for name, each in zip(names, shown, strict=True)
    ]
    page = render_page(
        PACKAGE,
        "study.html.j2",
        plots,
        title="What synthetic markets teach",
        sections=sections,
        facts=tuple((each.title, each.note) for each in shown if each.note),
    )
    atomic_write_text(path, page)


def plot_of(found: Answer) -> dict[str, Any]:
    """Return curves over processor time where there are any, else bars with standard errors."""
    if found.question.name == "learnability":
        return _over_time(found.lines)
    variants = list(dict.fromkeys(line.variant for line in found.lines))
    traces = []
    for k, variant in enumerate(variants):
        mine = [line for line in found.lines if line.variant == variant]
        for unit in dict.fromkeys(unit_of(line.market) for line in mine):
            lines = [line for line in mine if unit_of(line.market) == unit]
            traces.append(
                {
                    "type": "bar",
                    "name": variant,
                    "legendgroup": variant,
                    "showlegend": lines[0] is mine[0],
                    "x": [line.market for line in lines],
                    "y": [round(line.mean, 2) for line in lines],
                    "yaxis": AXES[unit],
                    "error_y": {"type": "data", "array": [_finite(line.error) for line in lines]},
                    "marker": {"color": COLORS[k % len(COLORS)]},
                }
            )
    layout = {"barmode": "group", **_y_axes(found.lines, "mean and s.e. over seeds")}
    return {"data": traces, "layout": layout}


def _over_time(lines: tuple[Line, ...]) -> dict[str, Any]:
    traces = []
    for k, line in enumerate(lines):
        for i, (seed, curve) in enumerate(line.curves):
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers",
                    "name": f"{line.market}, {line.variant}",
                    "legendgroup": f"{line.market}{line.variant}",
                    "showlegend": i == 0,
                    "hovertext": f"{line.market} seed {seed}",
                    "x": [round(x, 1) for x, _ in curve],
                    "y": [round(y, 1) for _, y in curve],
                    "yaxis": AXES[unit_of(line.market)],
                    "line": {"color": COLORS[k % len(COLORS)]},
                }
            )
    layout = {
        "xaxis": {"title": {"text": "processor seconds of training"}},
        **_y_axes(lines, "one line per seed"),
    }
    return {"data": traces, "layout": layout}


def _y_axes(lines: tuple[Line, ...], what: str) -> dict[str, Any]:
    """Return the axis of shares, and one of dollars on the right where noise is among them."""
    axes: dict[str, Any] = {"yaxis": {"title": {"text": f"{OF_ORACLE}, {what}"}}}
    if any(line.market == NOISE for line in lines):
        title = {"text": f"{NOISE}: {DOLLARS}"}
        axes["yaxis2"] = {"title": title, "overlaying": "y", "side": "right", "showgrid": False}
        axes["margin"] = {"l": 64, "r": 64, "t": 24, "b": 36}
        axes["legend"] = {"x": 1.08}  # beside that axis, not over it
    return axes


def _finite(value: float) -> float:
    return round(value, 2) if value == value else 0.0
