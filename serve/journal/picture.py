"""An explanation as a picture: one HTML page that can be read offline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rllib_tactical.domain.types import AGENTS
from rllib_tactical.errors import UsageError
from rllib_tactical.reporting.html import render_page
from rllib_tactical.reporting.plots import NEUTRAL, Plot
from serve.journal.explain import Explanation, Occlusion, OtherVotes, outcome_text, votes_text

COLORS: Final = {"fvg": "#2563eb", "momentum": "#d97706", "entry": NEUTRAL}
_DIGITS: Final = 6


def write_picture(found: Explanation, path: Path) -> None:
    """Write the page.

    Raises:
        UsageError: the file cannot be written.
    """
    try:
        path.write_text(page_of(found), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--picture must be a file that can be written: {error}") from error


def page_of(found: Explanation) -> str:
    """Return the page."""
    nearest = [] if found.nearest is None else [("the nearest other outcome", found.nearest)]
    others = [*nearest, *(("one other vote", other) for other in found.others)]
    return render_page(
        "serve.journal",
        "explanation.html.j2",
        {"columns": columns_plot(found.columns), "rows": rows_plot(found.rows)},
        title=f"Decision {found.decision_id}",
        votes=votes_text(found.votes),
        outcome=outcome_text(found.outcome),
        others=[(what, _cells(other)) for what, other in others],
        facts=(),
    )


def columns_plot(columns: Sequence[Occlusion]) -> Plot:
    """Return bars by feature, the one that matters most on top, one color per agent."""
    ordered = sorted(columns, key=lambda each: each.size)
    return _bars(ordered, [each.name for each in ordered], horizontal=True)


def rows_plot(rows: Sequence[Occlusion]) -> Plot:
    """Return bars by bar of the window, the latest on the right, one color per agent."""
    return _bars(rows, list(range(1 - len(rows), 1)), horizontal=False)


def _bars(parts: Sequence[Occlusion], places: list[Any], *, horizontal: bool) -> Plot:
    at, size = ("y", "x") if horizontal else ("x", "y")
    data = [
        {
            "type": "bar",
            "name": agent,
            "orientation": "h" if horizontal else "v",
            at: places,
            size: [round(each.effect[agent], _DIGITS) for each in parts],
            "hovertext": [
                f"{each.name}: then {each.outcome.action} ({each.outcome.reason})" for each in parts
            ],
            "marker": {"color": COLORS[agent]},
        }
        for agent in AGENTS
    ]
    layout = {
        "barmode": "group",
        "height": 380,
        "legend": {"orientation": "h", "y": 1.12},
        "margin": {"l": 190 if horizontal else 64, "r": 16, "t": 24, "b": 48},
        f"{size}axis": {"title": {"text": "probability"}},
        f"{at}axis": {"title": {"text": "" if horizontal else "bars before the last"}},
    }
    return {"data": data, "layout": layout}


def _cells(other: OtherVotes) -> dict[str, str]:
    outcome, known = other.outcome, other.probability
    return {
        "votes": votes_text(other.votes),
        "probability": "-" if known is None else f"{known:.4f}",
        "action": outcome.action,
        "reason": outcome.reason,
        "quantity": f"{outcome.quantity:g}" if outcome.quantity else "-",
        "score": f"{outcome.score:.4f}",
    }
