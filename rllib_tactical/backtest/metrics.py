"""Metrics of a backtest. What cannot be computed is None, with a reason beside it.

A trade is a row of the table of trades, a position still open at the end included. Money is in
dollars and net of every cost unless a name says otherwise. A day is a session of the instrument's
calendar; days on which nothing was traded count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pandas as pd

from rllib_tactical.backtest.result import BacktestResult
from rllib_tactical.domain.decision.costs import adverse_move
from rllib_tactical.domain.types import AGENTS, HOLD, FloatArray
from rllib_tactical.statistics.calibration import JUDGES, calibration_error, right_votes
from rllib_tactical.statistics.sharpe import DAYS_PER_YEAR, days_per_year

Value = float | int | None | dict[str, Any]

DEFINITIONS: Final = {
    "net_pnl": "change of marked-to-market equity, dollars, net of every cost",
    "return": "net_pnl / equity before the first decision",
    "trades": "number of trades",
    "days": "sessions that the backtest covers, those without a trade included; a lost account's "
    "end with the day of its loss",
    "trades_per_day": "trades / days",
    "win_rate": "trades with P&L > 0 / trades",
    "profit_factor": "sum of winning P&L / |sum of losing P&L|",
    "payoff_ratio": "average win / |average loss|",
    "average_win": "mean P&L of trades with P&L > 0",
    "average_loss": "mean P&L of trades with P&L < 0 (negative)",
    "average_trade": "mean P&L of all trades",
    "accuracy_fvg": "share of trades whose vote at entry was right: a direction is right when it "
    "is the trade's side and the P&L > 0, or the other side and the P&L < 0; hold when |P&L| < $10",
    "accuracy_momentum": "as accuracy_fvg",
    "accuracy_entry": "share of bars on which fvg and momentum lead to a side and the entry agent "
    "was right: to execute where a bracket opened there earns after costs, to wait where not",
    "accuracy_ensemble": "share of bars whose vote has a side, executed or not, on which a bracket "
    "opened there earns after costs by its stop, its target or the session's end",
    "calibration_error": "mean over trades of |share of right decisions - mean confidence| of the "
    "trade's tenth of confidence",
    "daily_pnl_mean": "mean over days of the change of equity",
    "daily_pnl_std": "sample standard deviation over days of the change of equity",
    "best_day": "largest daily change of equity",
    "worst_day": "smallest daily change of equity",
    "sharpe": "mean / sample standard deviation of daily returns (change of equity / equity at the "
    "day's begin), times the root of the calendar's sessions a year: 252, FX 260, 24/7 365",
    "max_drawdown": "largest (peak - equity) / peak over the whole backtest, at closes",
    "max_session_drawdown": "largest drawdown from the session's own peak, at closes",
    "costs": "spread, slippage, commission and funding paid by the trades",
    "cost_share": "costs / (costs + |net P&L before costs|)",
    "stop_adherence": "share of stopped trades that ended where the rules say: at the stop or, "
    "where the bar opened beyond it, at the open, less the modeled spread and slippage; half a "
    "tick allowed",
    "stop_gaps": "share of stopped trades whose last bar opened beyond the stop",
    "leverage_violations": "entries whose notional at the fill exceeds max_leverage x equity",
    "sizing_accuracy": "share of entries with exactly the quantity that confidence asked for, "
    "before risk limits",
    "slippage": "mean of (entry fill - decision price) / decision price in the adverse direction",
    "time_in_market": "share of bars whose close was held through with a position",
    "long_trades": "number and P&L of long trades",
    "short_trades": "number and P&L of short trades",
    "exits": "number and P&L of trades by exit reason",
    "bonus_share": "sum of |bonuses| / (sum of |bonuses| + sum of |P&L rewards|) over bars "
    "and agents",
}
"""What each metric means."""


TABLE_METRICS: Final = (
    "net_pnl",
    "trades",
    "trades_per_day",
    "win_rate",
    "profit_factor",
    "sharpe",
    "max_drawdown",
    "costs",
)
"""Metrics of the short table that compares policies."""


@dataclass(slots=True)
class Metrics:
    """Metrics by name, in the order of ``DEFINITIONS``; ``reasons`` says why a value is None."""

    values: dict[str, Value] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Value:
        return self.values[name]

    def put(self, name: str, value: float | int | None, missing: str = "") -> None:
        """Set a metric; ``missing`` is the reason when it is None or not finite."""
        self.reasons.pop(name, None)
        if value is not None and math.isfinite(value):
            self.values[name] = int(value) if isinstance(value, int | np.integer) else float(value)
        else:
            self.values[name] = None
            self.reasons[name] = missing or "not a finite number"

    def number(self, name: str) -> float | None:
        """Return a metric that is a number or None."""
        value = self.values.get(name)
        return None if value is None or isinstance(value, dict) else float(value)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values and reasons, fit for JSON."""
        return {"values": dict(self.values), "undefined": dict(self.reasons)}


def compute_metrics(*results: BacktestResult) -> Metrics:
    """Return every metric of ``DEFINITIONS`` for a backtest, or for several taken together.

    Several are accounts side by side, each with its own equity: P&L, equity, costs and days (by
    date) are sums, trades are those of all.
    """
    metrics = Metrics()
    trades = pd.concat([result.trades for result in results], ignore_index=True)
    pnl = trades["pnl"].to_numpy()
    daily = _days_of_trading(results)
    net = sum(result.net_pnl for result in results)
    metrics.put("net_pnl", net)
    metrics.put("return", net / sum(result.initial_equity for result in results))
    metrics.put("trades", len(trades))
    metrics.put("days", len(daily))
    metrics.put("trades_per_day", len(trades) / len(daily))
    trade_metrics(metrics, pnl)
    for name, value in result_accuracies(results).items():
        metrics.put(f"accuracy_{name}", value, _no_accuracy(name, results))
    metrics.put("calibration_error", calibration_error(trades), _NO_TRADE)
    _daily_metrics(metrics, daily, annual_days(results))
    metrics.put("max_drawdown", max_drawdown(total_equity(results)["equity"].to_numpy()))
    sessions = max(float(result.equity["session_drawdown"].max()) for result in results)
    metrics.put("max_session_drawdown", sessions)
    _cost_metrics(metrics, float(trades["costs"].sum()), net)
    _execution_metrics(metrics, results)
    for side in ("long", "short"):
        part = pnl[(trades["side"] == side).to_numpy()]
        metrics.values[f"{side}_trades"] = {"trades": len(part), "pnl": float(part.sum())}
    metrics.values["exits"] = {
        str(reason): {"trades": len(group), "pnl": float(group.sum())}
        for reason, group in trades["pnl"].groupby(trades["exit_reason"])
    }
    bonus = sum(float(np.abs(result.bonus).sum()) for result in results)
    base = sum(float(np.abs(result.base).sum()) for result in results) * len(AGENTS)
    share = bonus / (bonus + base) if bonus + base > 0 else None
    metrics.put("bonus_share", share, "equity never changed and no bonus was paid")
    metrics.values = {name: metrics.values[name] for name in DEFINITIONS}
    return metrics


_NO_TRADE: Final = "no trade was made"


def _days_of_trading(results: Sequence[BacktestResult]) -> pd.DataFrame:
    """Return the days of the results; those of one lost account end with the day of its loss."""
    daily = total_daily(results)
    lost = results[0].lost_row if len(results) == 1 else None
    if lost is not None:
        daily = daily[daily["session"] <= results[0].equity["session"].iloc[lost]]
    return daily


def daily_pnl(result: BacktestResult) -> pd.DataFrame:
    """Return one row per session: its id, local date, P&L, opening equity, return and trades.

    Columns ``session``, ``date``, ``pnl`` and ``opening`` in dollars, ``return`` on the opening
    equity (0 where there is none), ``trades``. The
    P&L of a session is its last equity less the last equity of the session before. A trade
    counts in the session in which it ended.
    """
    equity = result.equity
    last = equity.groupby("session", sort=True).last()
    closing = last["equity"].to_numpy()
    opening = np.concatenate([[result.initial_equity], closing[:-1]])
    local = last["timestamp"].dt.tz_convert(result.history.instrument.timezone)
    exits = result.history.sessions.session_id[result.trades["exit_bar"].to_numpy(dtype=np.int64)]
    count = pd.Series(exits).value_counts().reindex(last.index, fill_value=0)
    return pd.DataFrame(
        {
            "session": last.index.to_numpy(),
            "date": local.dt.strftime("%Y-%m-%d").to_numpy(),
            "pnl": closing - opening,
            "opening": opening,
            "return": _returns(closing - opening, opening),
            "trades": count.to_numpy(),
        }
    )


def total_daily(results: Sequence[BacktestResult]) -> pd.DataFrame:
    """Return ``daily_pnl`` of one backtest, or the sums over several by date."""
    if len(results) == 1:
        return daily_pnl(results[0])
    every = pd.concat([daily_pnl(result) for result in results])
    total = every.groupby("date", sort=True)[["pnl", "trades"]].sum().reset_index()
    initial = sum(result.initial_equity for result in results)
    total["opening"] = initial + total["pnl"].cumsum().shift(fill_value=0.0)
    total["return"] = _returns(total["pnl"].to_numpy(), total["opening"].to_numpy())
    return total


def _returns(pnl: FloatArray, opening: FloatArray) -> FloatArray:
    """Return P&L on the opening equity (D,); a lost account has none and earns nothing on it."""
    return np.divide(pnl, opening, out=np.zeros(len(pnl)), where=opening > 0.0)


def total_equity(results: Sequence[BacktestResult]) -> pd.DataFrame:
    """Return ``timestamp`` and ``equity`` of one backtest, or of the sum of several accounts.

    An account that has no bar at a time counts with its equity at its last bar before.
    """
    if len(results) == 1:
        return results[0].equity[["timestamp", "equity"]]
    columns = [result.equity.set_index("timestamp")["equity"] for result in results]
    wide = pd.concat(columns, axis=1).sort_index().ffill()
    for number, result in enumerate(results):
        wide.iloc[:, number] = wide.iloc[:, number].fillna(result.initial_equity)
    return wide.sum(axis=1).rename("equity").rename_axis("timestamp").reset_index()


def accuracies(trades: pd.DataFrame) -> dict[str, float | None]:
    """Return the share of right votes per agent and of the ensemble; None without a trade."""
    if trades.empty:
        return {name: None for name in JUDGES}
    return {name: float(np.mean(right)) for name, right in right_votes(trades).items()}


def result_accuracies(results: Sequence[BacktestResult]) -> dict[str, float | None]:
    """Return the accuracy of each agent and of the ensemble, as ``DEFINITIONS`` says.

    None for fvg and momentum without a trade, for entry and ensemble without a known outcome.
    """
    trades = pd.concat([result.trades for result in results], ignore_index=True)
    found = accuracies(trades) | {"entry": None, "ensemble": None}
    tables = [result.outcomes for result in results if result.outcomes is not None]
    if len(tables) == len(results):
        outcomes = pd.concat(tables, ignore_index=True)
        earns = (outcomes["pnl"] > 0).to_numpy()
        sided = (outcomes["winner"] != HOLD).to_numpy()
        if len(outcomes):
            found["entry"] = float(np.mean(earns != outcomes["waits"].to_numpy()))
        if sided.any():
            found["ensemble"] = float(np.mean(earns[sided]))
    return found


def _no_accuracy(name: str, results: Sequence[BacktestResult]) -> str:
    if name not in ("entry", "ensemble"):
        return _NO_TRADE
    if any(result.outcomes is None for result in results):
        return "worked out for the policy only"
    return "no vote had a side"


def max_drawdown(equity: FloatArray) -> float:
    """Return the largest (peak so far - equity) / peak so far of an equity curve (K,)."""
    peak = np.maximum.accumulate(equity)
    return float(np.max((peak - equity) / peak))


def sharpe_ratio(returns: FloatArray, days: int = DAYS_PER_YEAR) -> float | None:
    """Return mean / sample standard deviation x sqrt(days a year) of daily returns (D,).

    None with fewer than two days or without any variation (Sharpe, 1994).
    """
    if len(returns) < 2:
        return None
    deviation = float(np.std(returns, ddof=1))
    if deviation == 0.0:
        return None
    return float(np.mean(returns)) / deviation * math.sqrt(days)


def trade_metrics(metrics: Metrics, pnl: FloatArray) -> None:
    """Put the metrics that follow from the trades' net P&L (K,) in dollars alone."""
    wins, losses = pnl[pnl > 0], pnl[pnl < 0]
    won, lost = float(wins.sum()), float(-losses.sum())
    no_loss = "no trade lost" if len(pnl) else _NO_TRADE
    no_win = "no trade won" if len(pnl) else _NO_TRADE
    metrics.put("win_rate", len(wins) / len(pnl) if len(pnl) else None, _NO_TRADE)
    metrics.put("profit_factor", won / lost if len(losses) else None, no_loss)
    both = bool(len(wins)) and bool(len(losses))
    ratio = (won / len(wins)) / (lost / len(losses)) if both else None
    metrics.put("payoff_ratio", ratio, no_loss if len(wins) else no_win)
    metrics.put("average_win", float(wins.mean()) if len(wins) else None, no_win)
    metrics.put("average_loss", float(losses.mean()) if len(losses) else None, no_loss)
    metrics.put("average_trade", float(pnl.mean()) if len(pnl) else None, _NO_TRADE)


def annual_days(results: Sequence[BacktestResult]) -> int:
    """Return the sessions a year of the results' instruments."""
    return days_per_year({result.history.instrument.calendar for result in results})


def _daily_metrics(metrics: Metrics, daily: pd.DataFrame, days: int) -> None:
    pnl = daily["pnl"].to_numpy()
    few = "a deviation needs at least two days"
    metrics.put("daily_pnl_mean", float(pnl.mean()))
    metrics.put("daily_pnl_std", float(pnl.std(ddof=1)) if len(pnl) > 1 else None, few)
    metrics.put("best_day", float(pnl.max()))
    metrics.put("worst_day", float(pnl.min()))
    sharpe = sharpe_ratio(daily["return"].to_numpy(), days)
    metrics.put("sharpe", sharpe, few if len(pnl) < 2 else "the daily returns do not vary")


def _cost_metrics(metrics: Metrics, costs: float, net: float) -> None:
    gross = net + costs
    metrics.put("costs", costs)
    share = costs / (costs + abs(gross)) if costs >= 0 and costs + abs(gross) > 0 else None
    reason = "rebates and funding exceed the costs" if costs < 0 else "nothing was paid or earned"
    metrics.put("cost_share", share, reason)


def _execution_metrics(metrics: Metrics, results: Sequence[BacktestResult]) -> None:
    checks = pd.concat([_checks(result) for result in results], ignore_index=True)
    stops = checks.loc[checks["stopped"], "kept"]
    no_stop = "no trade was stopped out"
    metrics.put("stop_adherence", float(stops.mean()) if len(stops) else None, no_stop)
    gaps = checks.loc[checks["stopped"], "gap"]
    metrics.put("stop_gaps", float(gaps.mean()) if len(gaps) else None, no_stop)
    metrics.put("leverage_violations", int(checks["over_leverage"].sum()))
    some = len(checks) > 0
    metrics.put("sizing_accuracy", float(checks["exact"].mean()) if some else None, _NO_TRADE)
    metrics.put("slippage", float(checks["slippage"].mean()) if some else None, _NO_TRADE)
    held = sum(int((result.equity["position"] != 0).sum()) for result in results)
    metrics.put("time_in_market", held / sum(len(result.equity) for result in results))


def _checks(result: BacktestResult) -> pd.DataFrame:
    """Return for each trade whether it was stopped, filled, sized and levered as it should be."""
    trades, instrument = result.trades, result.history.instrument
    side = np.where(trades["side"] == "long", 1, -1)
    exit_bar = trades["exit_bar"].to_numpy(dtype=np.int64)
    atr = result.history.features.atr[exit_bar - 1]
    modeled = adverse_move(atr, instrument) + 0.5 * instrument.tick_size
    # the entry is the open of its own bar: only later bars can open beyond a stop
    opened = np.where(
        trades["bars_held"] > 1, result.history.bars.open[exit_bar], trades["entry_price"]
    )
    beyond = side * (trades["stop"].to_numpy() - opened)
    missed_by = side * (trades["stop"].to_numpy() - trades["exit_price"].to_numpy())
    quantity = trades["quantity"].to_numpy()
    notional = trades["entry_price"].to_numpy() * quantity * instrument.point_value
    allowed = result.rules.risk.max_leverage * trades["equity_before"].to_numpy()
    return pd.DataFrame(
        {
            "stopped": (trades["exit_reason"] == "stop").to_numpy(dtype=np.bool_),
            "kept": np.asarray(missed_by - np.maximum(beyond, 0.0) <= modeled, dtype=np.bool_),
            "gap": np.asarray(beyond > 0, dtype=np.bool_),
            "over_leverage": np.asarray(notional > allowed, dtype=np.bool_),
            "exact": np.asarray(quantity == trades["requested"].to_numpy(), dtype=np.bool_),
            "slippage": trades["slippage"].to_numpy(dtype=np.float64),
        }
    )
