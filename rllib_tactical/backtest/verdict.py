"""The outcome of a backtest in plain words."""

from __future__ import annotations

from collections.abc import Sequence

from rllib_tactical.backtest.comparison import ORACLE, RIVALS, Comparison
from rllib_tactical.backtest.metrics import Metrics
from rllib_tactical.backtest.result import BacktestResult
from rllib_tactical.backtest.targets import OVER_TRADING
from rllib_tactical.reporting.format import count_of, dollars, number, percent
from rllib_tactical.statistics.significance import FEW_TRADES, Significance, in_words


def verdict(comparison: Comparison) -> str:
    """Return the outcome in plain words: what was earned, and how sure that is."""
    others = [(run.name, run.label, run.metrics) for run in comparison.baselines]
    text = loss_text(comparison.policy.result)
    text += outcome_text(comparison.policy.metrics, others, comparison.significance)
    if comparison.trades_too_much:
        times = comparison.times_oracle_trades or 0.0
        text += (
            f" It trades {times:.1f} times as often as the oracle (more than {OVER_TRADING:g} "
            "times is over-trading)."
        )
    return text


def loss_text(*results: BacktestResult) -> str:
    """Return what a verdict begins with where accounts were lost, empty where none was."""
    text = ""
    for result in results:
        row = result.lost_row
        if row is not None:
            at = result.equity.iloc[row]
            text += (
                f"The account {f'of {result.history.instrument.symbol} ' * (len(results) > 1)}was "
                f"lost on {at['timestamp']:%Y-%m-%d %H:%M} UTC: {dollars(result.initial_equity)} "
                f"became {dollars(at['equity'])}. Trading ends there. "
            )
    return text


def outcome_text(
    metrics: Metrics, others: Sequence[tuple[str, str, Metrics]], significance: Significance | None
) -> str:
    """Return the outcome of a policy beside others (name, label, metrics)."""
    net, trades = metrics.number("net_pnl") or 0.0, int(metrics.number("trades") or 0)
    days = count_of(int(metrics.number("days") or 0), "day")
    if trades == 0:
        return f"Made no trade in {days}: there is nothing to judge."
    costs = metrics.number("costs") or 0.0
    made = f"{count_of(trades, 'trade')} in {days}"
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
        f"{label} ({dollars(theirs.number('net_pnl') or 0.0)})"
        for name, label, theirs in others
        if name in ("no_trades", *RIVALS) and (theirs.number("net_pnl") or 0.0) >= net
    ]
    if better:
        text += f" Not better than: {', '.join(better)}."
    elif others:
        oracle = any(
            name == ORACLE and (run.number("net_pnl") or 0.0) >= net for name, _, run in others
        )
        text += f" Better than every baseline{' but the oracle' if oracle else ''}."
    if significance is not None:
        return f"{text} {in_words(significance)}"
    if trades < FEW_TRADES:
        return f"{text} Fewer than {FEW_TRADES} trades: chance alone explains this."
    if net <= 0:
        return text
    return f"{text} How sure this is was not worked out: no evidence of an edge by itself."


def metric_text(name: str, value: float | None) -> str:
    """Return a metric of ``DEFINITIONS`` in the way in which it is read best."""
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
    "stop_gaps",
    "sizing_accuracy",
    "time_in_market",
    "bonus_share",
}
