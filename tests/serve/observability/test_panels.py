"""The panels show every metric of the service, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from serve.observability.panels import panels

ROW = re.compile(r"^\| `(tactical_\w+)` \|", re.M)
ASKED = re.compile(r"\b(tactical_\w+)")
"""In a query; a histogram is asked for by its buckets."""


def test_every_documented_metric_is_shown_and_every_one_shown_is_documented(
    project_root: Path,
) -> None:
    page = (project_root / "docs/howto/service.md").read_text(encoding="utf-8")
    asked = {
        name.removesuffix("_bucket")
        for panel in panels()
        for query in panel.queries
        for name in ASKED.findall(query.expression)
    }
    assert asked == set(ROW.findall(page))


def test_titles_are_different_and_series_can_be_told_apart() -> None:
    titles = [panel.title for panel in panels()]
    assert len(set(titles)) == len(titles)
    for panel in panels():
        legends = [query.legend for query in panel.queries]
        assert len(set(legends)) == len(legends), panel.title
