"""One console line per training iteration."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from rllib_tactical.domain.types import AGENTS
from rllib_tactical.rl.training.callbacks import Row, TrainingCallback, TrainingRun


class ConsoleLogger(TrainingCallback):
    """Prints one line per iteration, with the time left.

    Args:
        log: prints a line.
    """

    def __init__(self, log: Callable[[str], Any] = print) -> None:
        self._log = log
        self._recent: list[float] = []
        self._before: float | None = None
        self._rewards: dict[str, float] = {}

    def on_iteration(self, run: TrainingRun, row: Row) -> None:
        """Print a line for the metrics of an iteration; rewards are of the last ended episodes."""
        self._rewards |= {
            agent: row[f"reward_{agent}"] for agent in AGENTS if row[f"reward_{agent}"] is not None
        }
        left = max(0.0, self._seconds_left(run, row))
        of = "" if run.max_seconds else f"/{run.config.training.iterations}"
        rewards = " ".join(f"{_number(self._rewards.get(agent))}" for agent in AGENTS)
        entropy = " ".join(f"{row[f'entropy_{agent}']:.2f}" for agent in AGENTS)
        line = (
            f"iter {row['iteration']:>4}{of}  {row['env_steps']:>9,} steps  "
            f"{row['steps_per_s']:>6,.0f}/s  reward {rewards}  "
            f"P&L ${row['pnl']:>9,.0f} in {row['trades']:>4} trades  entropy {entropy}  "
            f"left {int(left) // 60}:{int(left) % 60:02d}"
        )
        if "validation_net_pnl" in row:
            line += (
                f"\n  validation of iteration {row['validation_iteration']} by the serving rule: "
                f"${row['validation_net_pnl']:,.0f} in {row['validation_trades']} trades "
                f"({row['validation_trades_per_day']:.1f} a day), "
                f"temperature scale {row['temperature_scale']:g}"
            )
        self._log(line)

    def _seconds_left(self, run: TrainingRun, row: Row) -> float:
        """Return the time left by the last iterations, validation and checkpoints included."""
        total = row["total_seconds"]
        took = row["seconds"] if self._before is None else total - self._before
        self._before = total
        self._recent = [*self._recent[-19:], took]
        if run.max_seconds is not None:
            return float(run.max_seconds - total)
        left, stop = run.config.training.iterations - row["iteration"], run.config.training.stop
        if stop.max_env_steps is not None:
            steps = row["steps_per_s"] * row["seconds"]
            left = min(left, math.ceil((stop.max_env_steps - row["env_steps"]) / steps))
        seconds = left * sum(self._recent) / len(self._recent)
        if stop.max_seconds is not None:
            seconds = min(seconds, stop.max_seconds - total)
        return float(seconds)


def _number(value: float | None) -> str:
    return "    -" if value is None else f"{value:5.2f}"
