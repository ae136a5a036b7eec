"""One console line per training iteration."""

from __future__ import annotations

import math
from typing import Any

from rllib_tactical.config.training import StopConfig
from rllib_tactical.domain.types import AGENTS
from rllib_tactical.rl.training.metrics import Row


class Progress:
    """Prints one line per iteration, with the time left.

    Args:
        log: prints a line.
        stop: whose limits may come before the last iteration.
        max_seconds: at which the call ends, instead of at the last iteration.
    """

    def __init__(self, log: Any, stop: StopConfig, max_seconds: float | None = None) -> None:
        self._log, self._stop, self._max_seconds = log, stop, max_seconds
        self._recent: list[float] = []
        self._before: float | None = None
        self._rewards: dict[str, float] = {}

    def __call__(self, row: Row) -> None:
        """Print a line for the metrics of an iteration; rewards are of the last ended episodes."""
        self._rewards |= {
            agent: row[f"reward_{agent}"] for agent in AGENTS if row[f"reward_{agent}"] is not None
        }
        left = max(0.0, self._seconds_left(row))
        of = "" if row["of"] is None else f"/{row['of']}"
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

    def _seconds_left(self, row: Row) -> float:
        """Return the time left by the last iterations, validation and checkpoints included."""
        total = row["total_seconds"]
        took = row["seconds"] if self._before is None else total - self._before
        self._before = total
        self._recent = [*self._recent[-19:], took]
        if self._max_seconds is not None:
            return float(self._max_seconds - total)
        left = row["of"] - row["iteration"]
        if self._stop.max_env_steps is not None:
            steps = row["steps_per_s"] * row["seconds"]
            left = min(left, math.ceil((self._stop.max_env_steps - row["env_steps"]) / steps))
        seconds = left * sum(self._recent) / len(self._recent)
        if self._stop.max_seconds is not None:
            seconds = min(seconds, self._stop.max_seconds - total)
        return float(seconds)


def _number(value: float | None) -> str:
    return "    -" if value is None else f"{value:5.2f}"
