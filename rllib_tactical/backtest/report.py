"""The report: one HTML file with everything inside, which opens without a network."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from rllib_tactical.backtest import figures
from rllib_tactical.backtest.baselines import EXPLANATIONS
from rllib_tactical.backtest.evaluate import Evaluation
from rllib_tactical.backtest.metrics import DEFINITIONS, Metrics
from rllib_tactical.backtest.provenance import Seen
from rllib_tactical.backtest.targets import TargetRow, target_table

NOTHING = "-"


FEW_TRADES: Final = 30
"""Below this many trades a result says nothing, whatever its sign."""


@dataclass(frozen=True, slots=True)
class ReportContext:
    """What a report says about where its figures come from, besides the evaluation itself.

    ``facts`` are pairs of a name and a value for the footer; ``seen`` is None when unknown.
    """

    title: str
    facts: tuple[tuple[str, str], ...] = ()
    seen: Seen | None = None


def verdict(evaluation: Evaluation) -> str:
    """Return the outcome in plain words; one path over one market proves no edge."""
    metrics = evaluation.policy.metrics
    net, trades = metrics.number("net_pnl") or 0.0, int(metrics.number("trades") or 0)
    days = _count(int(metrics.number("days") or 0), "day")
    if trades == 0:
        return f"Made no trade in {days}: there is nothing to judge."
    costs = metrics.number("costs") or 0.0
    made = f"{_count(trades, 'trade')} in {days}"
    if net <= 0:
        gross = net + costs
        before = (
            f"before costs of {dollars(costs)} it would have earned {dollars(gross)}"
            if gross > 0
            else f"it loses {dollars(-gross)} even before costs of {dollars(costs)}"
        )
        text = f"Loses {dollars(-net)} after costs with {made}; {before}."
    else:
        text = f"Earns {dollars(net)} after {dollars(costs)} of costs with {made}."
    better = [
        f"{run.label} ({dollars(run.metrics.number('net_pnl') or 0.0)})"
        for run in evaluation.baselines
        if run.name in EXPLANATIONS and (run.metrics.number("net_pnl") or 0.0) >= net
    ]
    if better:
        text += f" Not better than: {', '.join(better)}."
    elif evaluation.baselines:
        text += " Better than every baseline."
    if trades < FEW_TRADES:
        text += f" Fewer than {FEW_TRADES} trades: chance alone explains this."
    elif net > 0:
        text += " One path over one market: no evidence of an edge by itself."
    return text


def render_report(evaluation: Evaluation, context: ReportContext) -> str:
    """Return the report as one HTML document."""
    policy = evaluation.policy
    candles, span = figures.candle_figure(policy.result)
    plots = {
        "equity": figures.equity_figure(evaluation),
        "candles": candles,
        "sessions": figures.session_figure(policy.result),
        "hours": figures.hour_figure(policy.result),
        "exits": figures.exit_figure(policy.result),
    }
    times = policy.result.equity["timestamp"]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    source = resources.files("rllib_tactical.backtest") / "report.html.j2"
    template = environment.from_string(source.read_text(encoding="utf-8"))
    return template.render(
        title=context.title,
        first=f"{times.iloc[0]:%Y-%m-%d %H:%M}",
        last=f"{times.iloc[-1]:%Y-%m-%d %H:%M}",
        verdict=verdict(evaluation),
        tone="bad" if policy.result.net_pnl <= 0 else "good",
        seen=context.seen,
        parts=_part_rows(context.seen),
        cards=_cards(policy.metrics),
        targets=[_target_cells(row) for row in target_table(policy.metrics)],
        figures=_figure_rows(policy.metrics),
        table=_policy_rows(evaluation),
        explanations=EXPLANATIONS,
        counts=evaluation.to_dict()["trade_counts"],
        span=span,
        symbol=policy.result.tape.instrument.symbol,
        timezone=policy.result.tape.instrument.timezone,
        has_trades=len(policy.result.trades) > 0,
        facts=context.facts,
        plots=_script_json(plots),
        plotly=Markup(_plotly_js()),
    )


def dollars(value: float | None) -> str:
    """Return an amount such as ``-$1,234.50``; cents only below 1,000 dollars."""
    if value is None:
        return NOTHING
    digits = 2 if abs(value) < 1000 else 0
    text = f"${abs(value):,.{digits}f}"
    return f"-{text}" if value < 0 and text.strip("$0.,") else text


def percent(value: float | None, digits: int = 1) -> str:
    """Return a share as a percentage."""
    return NOTHING if value is None else f"{100.0 * value:.{digits}f}%"


def number(value: float | None, digits: int = 2) -> str:
    """Return a plain number; whole ones without decimals."""
    if value is None:
        return NOTHING
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.{digits}f}"


def figure_text(name: str, value: float | None) -> str:
    """Return a figure of ``DEFINITIONS`` in the way in which it is read best."""
    if name in _DOLLARS:
        return dollars(value)
    if name == "slippage":
        return percent(value, 4)
    if name.startswith("accuracy_") or name in _SHARES:
        return percent(value, 2 if "drawdown" in name or name == "return" else 1)
    return number(value)


_DOLLARS = {
    "net_pnl",
    "average_win",
    "average_loss",
    "average_trade",
    "daily_pnl_mean",
    "daily_pnl_std",
    "best_day",
    "worst_day",
    "costs",
}
_SHARES = {
    "return",
    "win_rate",
    "max_drawdown",
    "max_session_drawdown",
    "cost_share",
    "stop_adherence",
    "sizing_accuracy",
    "time_in_market",
    "bonus_share",
}


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _cards(metrics: Metrics) -> list[tuple[str, str]]:
    shown = {
        "Net P&L": "net_pnl",
        "Trades": "trades",
        "Win rate": "win_rate",
        "Profit factor": "profit_factor",
        "Sharpe": "sharpe",
        "Max drawdown": "max_drawdown",
        "Costs": "costs",
    }
    return [(label, figure_text(name, metrics.number(name))) for label, name in shown.items()]


def _target_cells(row: TargetRow) -> dict[str, str]:
    return {
        "label": row.label,
        "value": figure_text(row.name, row.value),
        "target": figure_text(row.name, row.target),
        "critical": figure_text(row.name, row.critical),
        "status": row.status,
        "why": row.reason or DEFINITIONS[row.name],
    }


def _figure_rows(metrics: Metrics) -> list[dict[str, str]]:
    rows = []
    for name, meaning in DEFINITIONS.items():
        value = metrics.values[name]
        if isinstance(value, dict):
            groups = value.items() if name == "exits" else [("", value)]
            shown = "; ".join(
                f"{key.replace('_', ' ')} {group['trades']:,}: {dollars(group['pnl'])}".strip()
                for key, group in groups
            )
        else:
            shown = figure_text(name, value)
        reason = metrics.reasons.get(name)
        text = f"{meaning} (undefined: {reason})" if reason else meaning
        rows.append({"name": name.replace("_", " "), "value": shown or NOTHING, "meaning": text})
    return rows


def _policy_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    return [
        {"name": row["name"], "label": row["label"]}
        | {
            key: figure_text(key, value)
            for key, value in row.items()
            if key not in ("name", "label")
        }
        for row in evaluation.rows()
    ]


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


def _script_json(plots: dict[str, Any]) -> Markup:
    """Return JSON that cannot end the script element it stands in."""
    text = json.dumps(plots, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _plotly_js() -> str:
    library = resources.files("plotly") / "package_data" / "plotly.min.js"
    return library.read_text(encoding="utf-8")
