"""The HTML report of one backtest or of several."""

from __future__ import annotations

from typing import Any, Final

from rllib_tactical.backtest.comparison import Comparison
from rllib_tactical.backtest.policies import EXPLANATIONS
from rllib_tactical.backtest.portfolio import Portfolio
from rllib_tactical.backtest.report import charts
from rllib_tactical.backtest.report import trade_charts as trade_metrics
from rllib_tactical.backtest.report.tables import (
    agent_rows,
    cards,
    conditions,
    confidence_text,
    metric_rows,
    statistics_cells,
    table_row,
    target_rows,
    tone,
)
from rllib_tactical.backtest.report.trade_list import trade_list, trade_lists
from rllib_tactical.backtest.report_context import Facts, ReportContext
from rllib_tactical.backtest.training_overlap import Seen
from rllib_tactical.backtest.verdict import verdict
from rllib_tactical.reporting.format import dollars
from rllib_tactical.reporting.html import render_page, script_json
from rllib_tactical.statistics.significance import Outcome, Significance

PACKAGE: Final = "rllib_tactical.backtest.report"


def render_report(comparison: Comparison, context: ReportContext) -> str:
    """Return the report as one HTML document."""
    policy, result = comparison.policy, comparison.policy.result
    times = result.equity["timestamp"]
    candles, span = charts.candle_plot(result)
    plots = {
        "equity": charts.equity_plot(comparison),
        "candles": candles,
        "sessions": trade_metrics.session_plot(result),
    }
    if len(result.trades):
        plots |= _trade_plots(comparison)
    return render_page(
        PACKAGE,
        "report.html.j2",
        plots,
        title=context.title,
        first=f"{times.iloc[0]:%Y-%m-%d %H:%M}",
        last=f"{times.iloc[-1]:%Y-%m-%d %H:%M}",
        verdict=context.verdict or verdict(comparison),
        tone=tone(result.net_pnl, _outcome(comparison.significance)),
        seen=context.seen,
        notes=context.notes,
        parts=_part_rows(context.seen),
        cards=cards(policy.metrics),
        targets=target_rows(policy.metrics, comparison.targets, comparison.times_oracle_trades),
        metrics=metric_rows(policy.metrics),
        table=[table_row(run.name, run.label, run.metrics) for run in comparison.runs],
        explanations=EXPLANATIONS,
        counts=comparison.to_dict()["trade_counts"],
        statistics=statistics_cells(comparison.significance),
        confidence=confidence_text(comparison.confidence),
        agents=None if comparison.agents is None else agent_rows(comparison.agents),
        span=span,
        symbol=result.history.instrument.symbol,
        timezone=result.history.instrument.timezone,
        rolling_days=trade_metrics.rolling_days(policy.metrics.number("days") or 0),
        has_trades=len(result.trades) > 0,
        trades=script_json(trade_list(result)),
        conditions=[*conditions(result), *_shown_facts(context.facts)],
        facts=context.facts,
    )


def _outcome(significance: Significance | None) -> Outcome | None:
    return None if significance is None else significance.outcome


def _trade_plots(comparison: Comparison) -> dict[str, Any]:
    result = comparison.policy.result
    return {
        "rolling": trade_metrics.rolling_sharpe_plot(result),
        "hours": trade_metrics.hour_plot(result),
        "weekdays": trade_metrics.weekday_plot(result),
        "holding": trade_metrics.holding_plot(result),
        "exits": trade_metrics.exit_plot(result),
        "accuracy": trade_metrics.accuracy_plot(result, comparison.targets),
        "calibration": trade_metrics.calibration_plot(result),
        "costs": trade_metrics.cost_plot(result),
    }


def _part_rows(seen: Seen | None) -> list[dict[str, str]]:
    labels = {
        "train": "training",
        "validation": "validation",
        "test": "test",
        "other": "outside of all three",
    }
    return [
        {
            "label": labels[part.name],
            "bars": f"{part.bars:,}",
            "trades": f"{part.trades:,}",
            "net_pnl": dollars(part.net_pnl),
        }
        for part in (seen.parts if seen is not None else ())
    ]


def render_portfolio(
    portfolio: Portfolio,
    context: ReportContext,
    reports: dict[str, str],
    facts: dict[str, Facts],
) -> str:
    """Return the report of several files as one HTML document.

    ``reports`` are links and ``facts`` what the reports there say of where they come from, by part.
    """
    results = {name: part.policy.result for name, part in portfolio.parts.items()}
    policy = portfolio.policy
    equity = policy.equity()
    times = equity["timestamp"]
    labels = [str(time) for time in times.dt.strftime("%Y-%m-%d %H:%M")]
    curves = [(run.name, run.label, run.equity()["equity"].to_numpy()) for run in portfolio.runs]
    rows = [
        table_row(name, name, part.policy.metrics) | {"report": reports[name]}
        for name, part in portfolio.parts.items()
    ]
    return render_page(
        PACKAGE,
        "portfolio.html.j2",
        {"equity": charts.equity_curves(curves, labels)},
        title=context.title,
        first=labels[0],
        last=labels[-1],
        verdict=portfolio.verdict(),
        tone=tone(policy.metrics.number("net_pnl") or 0.0, _outcome(portfolio.significance)),
        notes=context.notes,
        cards=cards(policy.metrics),
        targets=target_rows(policy.metrics, portfolio.targets),
        metrics=metric_rows(policy.metrics),
        parts=rows,
        table=[table_row(run.name, run.label, run.metrics) for run in portfolio.runs],
        statistics=statistics_cells(portfolio.significance),
        conditions={
            name: [*conditions(result), *_shown_facts(facts[name])]
            for name, result in results.items()
        },
        has_trades=any(len(result.trades) for result in results.values()),
        trades=script_json(trade_lists(results)),
        facts=context.facts,
    )


def _shown_facts(facts: Facts) -> list[tuple[str, str]]:
    """Return the facts that stand among the conditions of a backtest."""
    return [(name.capitalize(), value) for name, value in facts if name in ("size", "read as")]
