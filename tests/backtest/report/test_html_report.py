from __future__ import annotations

import json
import re
from typing import Any

import pytest

from rllib_tactical.backtest.comparison import Comparison, compare_votes
from rllib_tactical.backtest.engine import hold_votes
from rllib_tactical.backtest.report.html_report import render_report
from rllib_tactical.backtest.report_context import ReportContext
from rllib_tactical.backtest.training_overlap import Part, Seen
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.reporting.format import dollars


def parts_of(html: str) -> tuple[str, str, dict[str, dict[str, Any]]]:
    """Return the document without scripts, its own scripts, and the plots."""
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    assert len(scripts) == html.count("<script")
    assert len(scripts) in (2, 3)  # plotly, the plots and, where there are any, the trades
    (plots,) = re.findall(r"const plots = (\{.*\});\n", scripts[1])
    document = re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)
    return document, "".join(scripts[1:]), json.loads(plots)


@pytest.fixture(scope="module")
def html(comparison: Comparison) -> str:
    seen = Seen(True, (Part("train", 10, 1, -5.0),), "10 of 1,500 bars were used.", True)
    context = ReportContext("Backtest of <TEST> & more", (("bundle", "</script>"),), seen)
    return render_report(comparison, context)


def test_nothing_is_loaded_from_outside(html: str) -> None:
    document, script, plots = parts_of(html)
    assert "http" not in document
    assert "http" not in script
    assert not re.search(r"<(link|img|iframe|object|embed)\b|\bsrc=|@import|url\(", document)
    # map-like traces are the only ones for which the library fetches anything
    kinds = {trace["type"] for plot in plots.values() for trace in plot["data"]}
    assert kinds <= {"scatter", "bar", "candlestick"}


def test_the_library_is_inside(html: str) -> None:
    assert "* plotly.js v" in html
    assert len(html) > 3_000_000


def test_texts_are_escaped(html: str) -> None:
    document, _, _ = parts_of(html)
    assert "Backtest of &lt;TEST&gt; &amp; more" in document
    assert "&lt;/script&gt;" in document


def test_figures_tables_and_notes_are_there(html: str, comparison: Comparison) -> None:
    document, _, plots = parts_of(html)
    assert list(plots) == [
        "equity",
        "candles",
        "sessions",
        "rolling",
        "hours",
        "weekdays",
        "holding",
        "exits",
        "accuracy",
        "calibration",
        "costs",
    ]
    for name in plots:
        assert f'id="{name}"' in document
    for run in comparison.runs:
        assert f"<td>{run.label}</td>" in document
    assert "10 of 1,500 bars were used." in document
    assert dollars(comparison.policy.result.net_pnl) in document
    # a curve and a drawdown each, and what gives the axis in percent its range
    assert len(plots["equity"]["data"]) == 2 * len(comparison.runs) + 1


def test_a_report_without_a_trade_and_without_baselines(history: MarketHistory) -> None:
    quiet = compare_votes(hold_votes(100), history, Rules(), 400, 500, with_baselines=False)
    document, _, _ = parts_of(render_report(quiet, ReportContext("Quiet")))
    assert "Made no trade in" in document
    assert "nothing to judge" in document
    assert 'id="hours"' not in document
