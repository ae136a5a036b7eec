from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import numpy as np
import pytest

from rllib_tactical.backtest.comparison import Comparison, compare_votes
from rllib_tactical.backtest.engine import hold_votes
from rllib_tactical.backtest.portfolio import combine
from rllib_tactical.backtest.report.charts import candle_plot
from rllib_tactical.backtest.report.html_report import render_report
from rllib_tactical.backtest.report.tables import tone
from rllib_tactical.backtest.report_context import ReportContext
from rllib_tactical.backtest.training_overlap import Part, Seen
from rllib_tactical.backtest.verdict import metric_text, verdict
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.reporting.format import dollars, percent
from rllib_tactical.reporting.plots import MAX_POINTS, thin
from tests.backtest.scenes import result_of


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


def test_candles_count_bars_so_that_nights_take_no_room(comparison: Comparison) -> None:
    plot, span = candle_plot(comparison.policy.result)
    x = plot["data"][0]["x"]
    assert np.diff(x).tolist() == [1] * (len(x) - 1)
    assert "trades" in span
    entries = [*plot["data"][3]["x"], *plot["data"][4]["x"]]
    trades = comparison.policy.result.trades
    inside = (trades["exit_bar"] >= x[0]) & (trades["entry_bar"] <= x[-1])
    assert sorted(entries) == sorted(trades["entry_bar"][inside])


def test_a_report_without_a_trade_and_without_baselines(history: MarketHistory) -> None:
    quiet = compare_votes(hold_votes(100), history, Rules(), 400, 500, with_baselines=False)
    document, _, _ = parts_of(render_report(quiet, ReportContext("Quiet")))
    assert "Made no trade in" in document
    assert "nothing to judge" in document
    assert 'id="hours"' not in document


def changed(
    comparison: Comparison, equity: list[float], costs: float, trades: int = 40
) -> Comparison:
    """Return the evaluation of equal trades that make this gain, without baselines."""
    from rllib_tactical.backtest.metrics import compute_metrics

    trade = {"pnl": (equity[-1] - equity[0]) / trades, "costs": costs / trades}
    result = result_of(equity, [0] * len(equity), [trade] * trades)
    run = dataclasses.replace(comparison.policy, result=result, metrics=compute_metrics(result))
    return dataclasses.replace(comparison, policy=run, baselines=(), significance=None)


def test_the_verdict_says_a_loss_plainly(comparison: Comparison) -> None:
    assert verdict(changed(comparison, [1000.0, 900.0], 30.0)) == (
        "Loses $100.00 after costs with 40 trades in 1 day; it loses $70.00 even before costs of "
        "$30.00."
    )
    assert verdict(changed(comparison, [1000.0, 900.0], 130.0)) == (
        "Loses $100.00 after costs with 40 trades in 1 day; before costs of $130.00 it would have "
        "earned $30.00."
    )


def test_the_verdict_begins_with_a_lost_account(comparison: Comparison) -> None:
    lost = changed(comparison, [1000.0, 500.0, -200.0, -200.0], 30.0)
    text = verdict(lost)
    at = lost.policy.result.equity["timestamp"].iloc[2]
    assert text.startswith(
        f"The account was lost on {at:%Y-%m-%d %H:%M} UTC: $1,000 became -$200.00. Trading ends "
        "there. Loses $1,200 after costs"
    )
    part = dataclasses.replace(lost, significance=None)
    portfolio = combine({"one": part, "two": part})
    assert portfolio.verdict().startswith("The account of CONTRACT was lost on")


def test_the_verdict_makes_nothing_of_a_few_trades(comparison: Comparison) -> None:
    for end in (900.0, 1200.0):
        text = verdict(changed(comparison, [1000.0, end], 30.0, trades=29))
        assert text.endswith("Fewer than 30 trades: chance alone explains this.")
    assert "chance" not in verdict(changed(comparison, [1000.0, 900.0], 30.0, trades=30))


def test_the_verdict_does_not_call_a_gain_an_edge(comparison: Comparison) -> None:
    assert verdict(changed(comparison, [1000.0, 1200.0], 30.0)) == (
        "Earns $200.00 after $30.00 of costs with 40 trades in 1 day. How sure this is was not "
        "worked out: no evidence of an edge by itself."
    )


def test_the_verdict_names_baselines_that_did_as_well(comparison: Comparison) -> None:
    loss = changed(comparison, [1000.0, 900.0], 30.0)
    hold = comparison.baselines[0]
    assert "Not better than: No trades ($0.00)." in verdict(
        dataclasses.replace(loss, baselines=(hold,))
    )
    gain = changed(comparison, [1000.0, 1200.0], 30.0)
    assert "Better than every baseline." in verdict(dataclasses.replace(gain, baselines=(hold,)))
    oracle = dataclasses.replace(gain.policy, name="oracle", label="Oracle")
    text = verdict(dataclasses.replace(gain, baselines=(hold, oracle)))
    assert "Better than every baseline but the oracle." in text


def test_a_gain_is_green_only_where_it_is_an_edge() -> None:
    assert tone(-1.0, "edge") == "bad"
    assert tone(0.0, "nothing") == tone(0.0, None) == "open"
    assert tone(1.0, "edge") == "good"
    assert tone(1.0, "no_edge") == tone(1.0, "not_distinguishable") == tone(1.0, None) == "open"


def test_thinning_keeps_ends_and_extremes() -> None:
    values = np.random.default_rng(0).normal(size=50_000).cumsum()
    rows = thin(values)
    assert len(rows) <= MAX_POINTS + 2
    assert {0, 49_999, int(values.argmin()), int(values.argmax())} <= set(rows.tolist())
    assert thin(values[:100]).tolist() == list(range(100))


def test_numbers_are_written_to_be_read() -> None:
    assert dollars(-1234.6) == "-$1,235"
    assert dollars(12.346) == "$12.35"
    assert dollars(-0.001) == "$0.00"
    assert dollars(None) == percent(None) == "-"
    assert metric_text("slippage", 0.0002) == "0.0200%"
    assert metric_text("max_drawdown", 0.0512) == "5.12%"
    assert metric_text("win_rate", 0.551) == "55.1%"
    assert metric_text("trades", 12) == "12"
    assert metric_text("sharpe", 1.234) == "1.23"
