"""Validation by the full serving rule, and the choice of the temperature scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rllib_tactical.backtest.engine import run_backtest
from rllib_tactical.domain.pipeline import Rules
from rllib_tactical.domain.tape import Split, Tape
from rllib_tactical.domain.votes import constant_votes, greedy_votes, softmax
from rllib_tactical.inference import LogitsEngine, logits_of


@dataclass(frozen=True, slots=True)
class Validation:
    """What the actors are worth on validation bars.

    ``temperature_scale``: the scale with the best net P&L by the full rule. ``net_pnl`` dollars and
    ``trades`` by that scale; ``training_rule_trades`` by greedy votes of constant confidence;
    ``by_scale``: P&L and trades for every scale tried.
    """

    temperature_scale: float
    net_pnl: float
    trades: int
    training_rule_trades: int
    by_scale: list[dict[str, float]]

    @property
    def trades_too_little(self) -> bool:
        """Whether the full rule trades less than half as often as the training rule."""
        return 2 * self.trades < self.training_rule_trades

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Validation:
        """Return the figures that ``as_dict`` gave."""
        return cls(
            temperature_scale=float(values["temperature_scale"]),
            net_pnl=float(values["net_pnl"]),
            trades=int(values["trades"]),
            training_rule_trades=int(values["training_rule_trades"]),
            by_scale=values["by_scale"],
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for reports and the bundle."""
        return {
            "temperature_scale": self.temperature_scale,
            "net_pnl": self.net_pnl,
            "trades": self.trades,
            "training_rule_trades": self.training_rule_trades,
            "trades_too_little": self.trades_too_little,
            "by_scale": self.by_scale,
        }


def validate(
    engine: LogitsEngine,
    parts: Sequence[tuple[Tape, Split]],
    rules: Rules,
    scales: tuple[float, ...],
    train_confidence: float,
) -> Validation:
    """Trade a split of every instrument greedily with every temperature scale and keep the best.

    P&L and trades are sums over the instruments, each traded by an account of its own. One pass of
    the networks serves all scales. Ties go to the scale named first.
    """
    by_scale = [{"scale": scale, "net_pnl": 0.0, "trades": 0.0} for scale in scales]
    training_rule_trades = 0
    for tape, split in parts:
        start, stop = max(split.start, tape.first_decision), split.stop
        logits = logits_of(engine, tape.inputs, np.arange(start, stop))
        for row in by_scale:
            votes = greedy_votes(softmax(logits, row["scale"]))
            result = run_backtest(tape, votes, rules, start, stop)
            row["net_pnl"] += result.net_pnl
            row["trades"] += len(result.trades)
        by_training_rule = constant_votes(np.argmax(logits, axis=-1), train_confidence)
        training = run_backtest(tape, by_training_rule, rules, start, stop)
        training_rule_trades += len(training.trades)
    # a scale that never trades earns 0, and wins where trading loses
    best = max(by_scale, key=lambda row: row["net_pnl"])
    return Validation(
        temperature_scale=best["scale"],
        net_pnl=best["net_pnl"],
        trades=int(best["trades"]),
        training_rule_trades=training_rule_trades,
        by_scale=by_scale,
    )
