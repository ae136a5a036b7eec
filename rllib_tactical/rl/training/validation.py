"""Validation by the serving rule, and the choice of the temperature scale."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from rllib_tactical.backtest.engine import run_backtest
from rllib_tactical.backtest.metrics import daily_pnl, sharpe_ratio
from rllib_tactical.backtest.result import BacktestResult
from rllib_tactical.backtest.together import Voted, run_side_by_side
from rllib_tactical.bundle.inference import LogitsEngine, logits_of
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.votes import constant_votes, greedy_votes, softmax
from rllib_tactical.domain.simulation.history import MarketHistory, Split
from rllib_tactical.domain.types import BoolArray, FloatArray
from rllib_tactical.rl.training.win_rate import (
    Total,
    WinRateTarget,
    choices_of,
    choose,
)
from rllib_tactical.statistics.calibration import Calibration, fit_calibration
from rllib_tactical.statistics.sharpe import days_per_year

FEW_TRADES: Final = 10
"""With fewer trades a win rate chooses a checkpoint by luck, and is undefined."""

AS_GOOD: Final = 0.04
"""Share of the best net P&L that fewer trades may cost: so much is within the chance of the bars,
and who trades less depends less on what a trade costs."""

SURE: Final = 1.0
"""Number of its standard errors that a net P&L must exceed to be more than luck: else it is better
not to trade."""


@dataclass(frozen=True, slots=True)
class Validation:
    """The score of the actors on validation bars.

    ``temperature_scale``: the best by the serving rule, see ``validate``. ``net_pnl`` dollars,
    ``trades``, ``trades_per_day`` and ``sharpe`` (daily, annualized; None where it is undefined) by
    that scale; ``training_rule_trades`` by greedy votes of constant confidence; ``by_scale``: P&L,
    its standard error over the days, and trades for every scale tried. ``stage``: of the
    curriculum, 0 without one; ``oracle_share``: of the oracle's net P&L on the same bars, both at
    equal size, where the market has an oracle. ``reward``: mean of the last 100 episode rewards
    when it was made, None before so many. ``target``: what the choice of the threshold for a win
    rate came to, None where none is wanted; where it is met the figures are those by the threshold.
    ``calibration``: pairs of a decision's score and how probable a profit is at it.
    """

    temperature_scale: float
    net_pnl: float
    trades: int
    training_rule_trades: int
    by_scale: list[dict[str, float]]
    trades_per_day: float = 0.0
    sharpe: float | None = None
    stage: int = 0
    oracle_share: float | None = None
    reward: float | None = None
    win_rate: float | None = None
    target: WinRateTarget | None = None
    calibration: Calibration = ()

    @property
    def trades_too_little(self) -> bool:
        """Whether the serving rule trades less than half as often as the training rule."""
        return 2 * self.trades < self.training_rule_trades

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Validation:
        """Return the metrics that ``as_dict`` gave; those that older runs lack are undefined."""
        return cls(
            temperature_scale=float(values["temperature_scale"]),
            net_pnl=float(values["net_pnl"]),
            trades=int(values["trades"]),
            training_rule_trades=int(values["training_rule_trades"]),
            by_scale=values["by_scale"],
            trades_per_day=float(values.get("trades_per_day", 0.0)),
            sharpe=values.get("sharpe"),
            stage=int(values.get("stage", 0)),
            oracle_share=values.get("oracle_share"),
            reward=values.get("reward"),
            win_rate=values.get("win_rate"),
            target=WinRateTarget.from_dict(values.get("target")),
            calibration=tuple((x, p) for x, p in values.get("calibration", ())),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the metrics for reports and the bundle."""
        return {
            "temperature_scale": self.temperature_scale,
            "net_pnl": self.net_pnl,
            "trades": self.trades,
            "trades_per_day": self.trades_per_day,
            "sharpe": self.sharpe,
            "training_rule_trades": self.training_rule_trades,
            "trades_too_little": self.trades_too_little,
            "by_scale": self.by_scale,
            "stage": self.stage,
            "oracle_share": self.oracle_share,
            "reward": self.reward,
            "win_rate": self.win_rate,
            "target": None if self.target is None else self.target.as_dict(),
            "calibration": [list(pair) for pair in self.calibration],
        }


@dataclass(frozen=True, slots=True)
class PartMetrics:
    """One instrument's metrics: per choice its net P&L, trades and P&L by date, and more.

    A choice is a scale with a threshold, see ``choices_of``. ``scores`` and ``won`` of the trades
    by choice; ``days`` of the split; ``equity`` dollars before the first decision;
    ``equal_size_pnl``: net P&L at equal size by the scale that is best here, where it was asked
    for; ``calendar`` of the instrument.
    """

    net_pnl: list[float]
    trades: list[int]
    wins: list[int]
    by_date: list[dict[str, float]]
    training_rule_trades: int
    days: int
    equity: float
    calendar: str
    equal_size_pnl: float | None = None
    scores: list[FloatArray] = field(default_factory=list)
    won: list[BoolArray] = field(default_factory=list)


def equal_size(rules: Rules) -> Rules:
    """Return the rules with one size for every order, whatever its confidence.

    The oracle votes with confidence 1; what agents earn by trading larger is not skill.
    """
    orders = dataclasses.replace(
        rules.orders,
        full_size_confidence=rules.aggregation.execution_threshold / 2,
        cap_execute=1.0,
        cap_aggressive=1.0,
    )
    return dataclasses.replace(rules, orders=orders)


def validate(
    engine: LogitsEngine,
    parts: Sequence[tuple[MarketHistory, Split]],
    rules: Rules,
    scales: tuple[float, ...],
    train_confidence: float,
    target: float | None = None,
    positions: int | None = None,
) -> Validation:
    """Trade a split of every instrument greedily with every temperature scale and keep the best.

    P&L and trades are sums over the instruments, each traded by an account of its own, with at most
    ``positions`` open at a time, all together. One pass of the networks serves all scales. Only
    scales that earn more than the standard error of it count (SURE); where none does, one that
    never trades is the best, if there is one. Of those that earn nearly as much as the most
    (AS_GOOD) the one with the fewest trades is the best, then the one named first.
    """
    metrics = trade_parts(
        engine, parts, rules, scales, train_confidence, target=target, positions=positions
    )
    return combine(metrics, scales, rules, target)


@dataclass(frozen=True, slots=True)
class _Traded:
    """One instrument's split traded with every choice, and by the training rule."""

    results: list[BacktestResult]
    training: BacktestResult


def trade_parts(
    engine: LogitsEngine,
    parts: Sequence[tuple[MarketHistory, Split]],
    rules: Rules,
    scales: tuple[float, ...],
    train_confidence: float,
    at_equal_size: bool = False,
    target: float | None = None,
    positions: int | None = None,
) -> list[PartMetrics]:
    """Trade every instrument's split with every temperature scale; with the best at equal size too.

    The last only where it is asked for, to be compared with an oracle. With ``positions`` the
    instruments together have so many positions open at most.
    """
    voted = [_votes_of(engine, *part, rules, scales, train_confidence, target) for part in parts]
    if positions is None:
        played = [[_trade(each) for each in choices] for choices in voted]
    else:
        played = _trade_together(voted, positions, len(scales))
    traded = [_Traded(results[:-1], results[-1]) for results in played]
    return [_metrics(each, rules, len(scales), at_equal_size) for each in traded]


def _votes_of(
    engine: LogitsEngine,
    history: MarketHistory,
    split: Split,
    rules: Rules,
    scales: tuple[float, ...],
    train_confidence: float,
    target: float | None,
) -> list[Voted]:
    """Return the votes of every choice, and last those that count as in training."""
    start, stop = max(split.start, history.first_decision), split.stop
    logits = logits_of(engine, history.inputs, np.arange(start, stop))
    votes = {scale: greedy_votes(softmax(logits, scale)) for scale in scales}
    voted = [
        Voted(history, votes[scale], rules.with_execution_threshold(threshold), start, stop)
        for scale, threshold in choices_of(scales, rules, target)
    ]
    by_training_rule = constant_votes(np.argmax(logits, axis=-1), train_confidence)
    return [*voted, Voted(history, by_training_rule, rules, start, stop)]


def _trade(voted: Voted) -> BacktestResult:
    return run_backtest(voted.history, voted.votes, voted.rules, voted.start, voted.stop)


def _trade_together(
    voted: Sequence[Sequence[Voted]], positions: int, scales: int
) -> list[list[BacktestResult]]:
    """Trade with shared places: all scales of one execution threshold side by side."""
    choices = list(zip(*voted, strict=True))
    played: list[tuple[BacktestResult, ...]] = []
    for first in range(0, len(choices), scales):
        played += run_side_by_side(choices[first : first + scales], positions)
    return [list(results) for results in zip(*played, strict=True)]


def _metrics(traded: _Traded, rules: Rules, scales: int, at_equal_size: bool) -> PartMetrics:
    results, training = traded.results, traded.training
    history, start, stop = training.history, training.start, training.stop
    equal_size_pnl = None
    if at_equal_size:
        plain = results[:scales]
        chosen = best_scale(
            [each.net_pnl for each in plain],
            [error_of_sum(list(_by_date(each).values())) for each in plain],
            [len(each.trades) for each in plain],
        )
        best = plain[chosen].votes
        equal_size_pnl = run_backtest(history, best, equal_size(rules), start, stop).net_pnl
    return PartMetrics(
        net_pnl=[result.net_pnl for result in results],
        trades=[len(result.trades) for result in results],
        wins=[int((result.trades["pnl"] > 0).sum()) for result in results],
        by_date=[_by_date(result) for result in results],
        training_rule_trades=len(training.trades),
        days=len(np.unique(history.sessions.session_id[start:stop])),
        equity=training.initial_equity,
        calendar=history.instrument.calendar,
        equal_size_pnl=equal_size_pnl,
        scores=[result.trades["score"].to_numpy(dtype=np.float64) for result in results],
        won=[(result.trades["pnl"] > 0).to_numpy() for result in results],
    )


def combine(
    metrics: Sequence[PartMetrics],
    scales: tuple[float, ...],
    rules: Rules | None = None,
    target: float | None = None,
) -> Validation:
    """Return the validation of all instruments together; arguments as of ``trade_parts``."""
    by_scale = [
        {
            "scale": scale,
            "net_pnl": sum(part.net_pnl[k] for part in metrics),
            "error": error_of_sum(list(_by_date_together(metrics, k).values())),
            "trades": float(sum(part.trades[k] for part in metrics)),
        }
        for k, scale in enumerate(scales)
    ]
    best = plain = best_scale(
        *([each[name] for each in by_scale] for name in ("net_pnl", "error", "trades"))
    )
    found = None
    if target is not None:
        choices = choices_of(scales, rules or Rules(), target)
        totals = [
            Total(
                sum(part.net_pnl[k] for part in metrics),
                sum(part.trades[k] for part in metrics),
                sum(part.wins[k] for part in metrics),
            )
            for k in range(len(choices))
        ]
        best, found = choose(target, choices, totals, plain)
        scale = choices[best][0]
    else:
        scale = scales[best]
    daily = _by_date_together(metrics, best)
    pnls = np.array([daily[date] for date in sorted(daily)])
    net_pnl = sum(part.net_pnl[best] for part in metrics)
    trades, wins = (
        sum(getattr(part, name)[best] for part in metrics) for name in ("trades", "wins")
    )
    opening = sum(part.equity for part in metrics) + np.cumsum(pnls) - pnls
    return Validation(
        temperature_scale=scale,
        net_pnl=net_pnl,
        trades=trades,
        training_rule_trades=sum(part.training_rule_trades for part in metrics),
        by_scale=by_scale,
        trades_per_day=trades / max(1, max(part.days for part in metrics)),
        sharpe=sharpe_ratio(pnls / opening, days_per_year({part.calendar for part in metrics})),
        win_rate=wins / trades if trades >= FEW_TRADES else None,
        target=found,
        calibration=_calibrated(metrics, best),
    )


def _calibrated(metrics: Sequence[PartMetrics], choice: int) -> Calibration:
    """Return the calibration of the trades of all instruments by one choice."""
    known = [part for part in metrics if part.scores]
    if not known:
        return ()
    return fit_calibration(
        np.concatenate([part.scores[choice] for part in known]),
        np.concatenate([part.won[choice] for part in known]),
    )


def best_scale(pnls: Sequence[float], errors: Sequence[float], trades: Sequence[float]) -> int:
    """Return the index of the best scale by its net P&L, the error of that, and its trades.

    See ``validate``. One that never trades wins where trading loses.
    """
    every = range(len(pnls))
    # an error that is not a number is of too few days to know
    sure = [k for k in every if pnls[k] > 0 and not pnls[k] <= SURE * errors[k]]
    among = sure or [k for k in every if trades[k] == 0] or every
    most = max(pnls[k] for k in among)
    enough = most - AS_GOOD * abs(most)
    return min((k for k in among if pnls[k] >= enough), key=trades.__getitem__)


def error_of_sum(daily: Sequence[float]) -> float:
    """Return the standard error of the sum of daily P&L; 0 with less than two days."""
    return float(np.std(daily, ddof=1) * np.sqrt(len(daily))) if len(daily) > 1 else 0.0


def _by_date_together(metrics: Sequence[PartMetrics], choice: int) -> dict[str, float]:
    """Return the P&L of all instruments by date."""
    daily: dict[str, float] = {}
    for part in metrics:
        for date, pnl in part.by_date[choice].items():
            daily[date] = daily.get(date, 0.0) + pnl
    return daily


def _by_date(result: BacktestResult) -> dict[str, float]:
    daily = daily_pnl(result).groupby("date", sort=True)["pnl"].sum()
    return {str(date): float(pnl) for date, pnl in daily.items()}
