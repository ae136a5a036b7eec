"""The HTML report of one backtest or of several."""

from __future__ import annotations

from typing import Any, Final

from rllib_tactical.backtest.comparison import Evaluation
from rllib_tactical.backtest.policies import EXPLANATIONS
from rllib_tactical.backtest.portfolio import Portfolio
from rllib_tactical.backtest.report import charts as figures
from rllib_tactical.backtest.report import trade_charts as trade_figures
from rllib_tactical.backtest.report.tables import (
    cards,
    figure_rows,
    statistics_cells,
    table_row,
    target_rows,
    tone,
)
from rllib_tactical.backtest.report_context import ReportContext
from rllib_tactical.backtest.training_overlap import Seen
from rllib_tactical.backtest.verdict import verdict
from rllib_tactical.reporting.format import dollars
from rllib_tactical.reporting.html import render_page
from rllib_tactical.statistics.significance import Judgement, Outcome

PACKAGE: Final = "rllib_tactical.backtest.report"


def render_report(evaluation: Evaluation, context: ReportContext) -> str:
    """Return the report as one HTML document."""
    policy, result = evaluation.policy, evaluation.policy.result
    times = result.equity["timestamp"]
    candles, span = figures.candle_figure(result)
    plots = {
        "equity": figures.equity_figure(evaluation),
        "candles": candles,
        "sessions": trade_figures.session_figure(result),
    }
    if len(result.trades):
        plots |= _trade_plots(evaluation)
    return render_page(
        PACKAGE,
        "report.html.j2",
        plots,
        title=context.title,
        first=f"{times.iloc[0]:%Y-%m-%d %H:%M}",
        last=f"{times.iloc[-1]:%Y-%m-%d %H:%M}",
        verdict=context.verdict or verdict(evaluation),
        tone=tone(result.net_pnl, _outcome(evaluation.judgement)),
        seen=context.seen,
        notes=context.notes,
        parts=_part_rows(context.seen),
        cards=cards(policy.metrics),
        targets=target_rows(policy.metrics),
        figures=figure_rows(policy.metrics),
        table=[table_row(run.name, run.label, run.metrics) for run in evaluation.runs],
        explanations=EXPLANATIONS,
        counts=evaluation.to_dict()["trade_counts"],
        statistics=statistics_cells(evaluation.judgement),
        span=span,
        symbol=result.tape.instrument.symbol,
        timezone=result.tape.instrument.timezone,
        rolling_days=trade_figures.rolling_days(policy.metrics.number("days") or 0),
        has_trades=len(result.trades) > 0,
        facts=context.facts,
    )


def _outcome(judgement: Judgement | None) -> Outcome | None:
    return None if judgement is None else judgement.outcome


def _trade_plots(evaluation: Evaluation) -> dict[str, Any]:
    result = evaluation.policy.result
    return {
        "rolling": trade_figures.rolling_sharpe_figure(result),
        "hours": trade_figures.hour_figure(result),
        "weekdays": trade_figures.weekday_figure(result),
        "holding": trade_figures.holding_figure(result),
        "exits": trade_figures.exit_figure(result),
        "accuracy": trade_figures.accuracy_figure(result),
        "calibration": trade_figures.calibration_figure(result),
        "costs": trade_figures.cost_figure(result),
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


def render_portfolio(portfolio: Portfolio, context: ReportContext, reports: dict[str, str]) -> str:
    """Return the report of several files as one HTML document; ``reports`` are links by part."""
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
        {"equity": figures.equity_curves(curves, labels)},
        title=context.title,
        first=labels[0],
        last=labels[-1],
        verdict=portfolio.verdict(),
        tone=tone(policy.metrics.number("net_pnl") or 0.0, _outcome(portfolio.judgement)),
        notes=context.notes,
        cards=cards(policy.metrics),
        targets=target_rows(policy.metrics),
        figures=figure_rows(policy.metrics),
        parts=rows,
        table=[table_row(run.name, run.label, run.metrics) for run in portfolio.runs],
        statistics=statistics_cells(portfolio.judgement),
        facts=context.facts,
    )
