"""Tables of a backtest report as texts."""

from __future__ import annotations

from math import isnan
from typing import Any, Final

from rllib_tactical.backtest.metrics import DEFINITIONS, TABLE_METRICS, Metrics
from rllib_tactical.backtest.result import BacktestResult
from rllib_tactical.backtest.shapley import AgentValues
from rllib_tactical.backtest.targets import Target, TargetRow, target_table
from rllib_tactical.backtest.verdict import metric_text
from rllib_tactical.reporting.format import NOTHING, dollars, number, percent
from rllib_tactical.statistics.bootstrap import RESAMPLES, Interval
from rllib_tactical.statistics.significance import Outcome, Significance, p_text


def cards(metrics: Metrics) -> list[tuple[str, str]]:
    """Return the metrics shown in large type."""
    shown = {
        "Net P&L": "net_pnl",
        "Trades": "trades",
        "Win rate": "win_rate",
        "Profit factor": "profit_factor",
        "Sharpe": "sharpe",
        "Max drawdown": "max_drawdown",
        "Costs": "costs",
    }
    texts = {name: metric_text(name, metrics.number(name)) for name in shown.values()}
    texts["net_pnl"] += f" ({metric_text('return', metrics.number('return'))})"
    return [(label, texts[name]) for label, name in shown.items()]


def conditions(result: BacktestResult) -> list[tuple[str, str]]:
    """Return under what capital, costs and rules the trades were made, as pairs of texts."""
    instrument, rules = result.history.instrument, result.rules
    risk, orders = rules.risk, rules.orders
    fee = dollars(instrument.commission_per_lot)
    slippage = f"{instrument.slippage_ticks:g} ticks"
    if instrument.slippage_atr_share:
        slippage += f" and {instrument.slippage_atr_share:g} ATR"
    return [
        ("Capital", f"{dollars(result.initial_equity)} in one account"),
        (
            "Costs",
            f"{fee} commission a lot and side; market orders and stops pay "
            f"{instrument.half_spread_ticks:g} ticks of half spread and {slippage} of slippage, "
            f"a tick is {instrument.tick_size:g}",
        ),
        (
            "Rules",
            f"stop {orders.stop_atr:g} ATR, target {orders.target_atr:g} ATR, flat at the "
            f"session's end; votes need a score of {rules.aggregation.execution_threshold:g}; at "
            f"most {percent(risk.max_risk_per_trade)} of equity is at risk at the stop, leverage "
            f"at most {risk.max_leverage:g}, a session ends at a drawdown of "
            f"{percent(risk.session_drawdown_limit)}",
        ),
    ]


AGENT_COLUMNS: Final = (
    "agent",
    "Shapley value",
    "share",
    "alone",
    "added to the other two",
    "trades without it",
)


def agent_rows(values: AgentValues) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the columns and rows of the table of what each agent contributes, and their sum."""
    total = sum(each.shapley for each in values.contributions)
    rows: list[tuple[str, ...]] = []
    for each in values.contributions:
        error = "" if isnan(each.error) else f" ± {dollars(each.error)}"
        rows.append(
            (
                each.agent,
                dollars(each.shapley) + error,
                percent(each.shapley / total) if total > 0 else NOTHING,
                dollars(each.alone),
                dollars(each.last),
                f"{each.trades_without:,}",
            )
        )
    rows.append(("all three", dollars(total), "", "", "", ""))
    return AGENT_COLUMNS, rows


def confidence_text(found: dict[str, float] | None) -> str:
    """Return how well confidence foretells a profit in words; empty where it was not calibrated."""
    if found is None:
        return ""
    return (
        f"{percent(found['win_rate'])} of {found['trades']:,.0f} trades made a profit. Scores say "
        f"{percent(found['score_mean'])} (calibration error {percent(found['score_error'])}, "
        f"Brier score {found['score_brier']:.3f}), calibrated on validation bars they say "
        f"{percent(found['calibrated_mean'])} (error {percent(found['calibrated_error'])}, Brier "
        f"score {found['calibrated_brier']:.3f})."
    )


def tone(net_pnl: float, outcome: Outcome | None) -> str:
    """Return the color of a verdict: a loss is bad, an edge is good, all else is open."""
    if net_pnl < 0:
        return "bad"
    return "good" if outcome == "edge" else "open"


def target_rows(
    metrics: Metrics, targets: tuple[Target, ...], times_oracle: float | None = None
) -> list[dict[str, str]]:
    """Return the table of targets as texts; arguments as of ``target_table``."""
    measured = {target.name: target.measured for target in targets}
    rows = target_table(metrics, targets, times_oracle)
    return [_target_cells(row, measured[row.name]) for row in rows]


def metric_rows(metrics: Metrics) -> list[dict[str, str]]:
    """Return every metric with its meaning as texts."""
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
            shown = metric_text(name, value)
        reason = metrics.reasons.get(name)
        text = f"{meaning} (undefined: {reason})" if reason else meaning
        rows.append({"name": name.replace("_", " "), "value": shown or NOTHING, "meaning": text})
    return rows


def table_row(name: str, label: str, metrics: Metrics) -> dict[str, str]:
    """Return a policy's line of the short table as texts."""
    shown = {key: metric_text(key, metrics.number(key)) for key in TABLE_METRICS}
    return {"name": name, "label": label} | shown


def statistics_cells(significance: Significance | None) -> dict[str, Any] | None:
    """Return the statistics as texts; None without any."""
    if significance is None:
        return None
    j = significance
    trials = "unknown" if j.trials is None else f"{j.trials:,}"
    deflated = "p, not deflated" if j.trials is None else "Deflated p"
    rows = [
        _row("Net P&L a day", dollars(j.pnl.estimate), j.pnl, dollars),
        _row("Net P&L in all", dollars(j.total.estimate), j.total, dollars),
        _row("Sharpe ratio (annualized)", _sharpe(j.sharpe), j.sharpe, number),
        _row("Probability that the true Sharpe ratio is above 0", _share(j.probabilistic_sharpe)),
        _row("Trials that the policy was chosen from", trials),
        _row(f"{deflated}: chance does as well", _p(j.p_value)),
        _row("Probability that choosing among the trials overfits", _share(j.overfitting)),
        _row("p of: no rival among the baselines earns more", _p(j.beaten_p_value)),
    ]
    against = [
        {
            "label": c.label,
            "pnl": dollars(c.pnl.estimate),
            "pnl_interval": _ends(c.pnl, dollars),
            "sharpe": number(c.sharpe.estimate),
            "sharpe_interval": _ends(c.sharpe, number),
            "p": _p(c.p_value),
        }
        for c in j.comparisons
    ]
    method = (
        f"stationary bootstrap of {j.days:,} days, {RESAMPLES:,} resamples, mean block "
        f"{j.block_days:.1f} days; p of superior predictive ability"
    )
    return {"rows": rows, "against": against, "method": method}


def _row(label: str, value: str, interval: Interval | None = None, text: Any = None) -> Any:
    shown = NOTHING if interval is None else _ends(interval, text)
    return {"label": label, "value": value, "interval": shown}


def _ends(interval: Interval, text: Any) -> str:
    return f"{text(interval.low)} to {text(interval.high)}"


def _sharpe(interval: Interval | None) -> str:
    return number(None if interval is None else interval.estimate)


def _share(value: float | None) -> str:
    return percent(value)


def _p(value: float | None) -> str:
    return NOTHING if value is None else p_text(value).removeprefix("= ")


def _target_cells(row: TargetRow, figure: str) -> dict[str, str]:
    return {
        "label": row.label,
        "value": metric_text(figure, row.value),
        "target": metric_text(figure, row.target),
        "critical": metric_text(figure, row.critical),
        "status": row.status,
        "why": row.reason or DEFINITIONS[figure],
    }
