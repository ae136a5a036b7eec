"""Score one result: a share of the oracle's P&L, or dollars where there is no edge."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from rllib_tactical.bench.measurement import standard_error

NOISE: Final = "noise"
"""The market without an edge: its oracle loses money, and a share of a loss has no meaning."""

OF_ORACLE: Final = "% of oracle"
DOLLARS: Final = "$ per session"


def unit_of(market: str) -> str:
    """Return the unit of ``score`` on a market."""
    return DOLLARS if market == NOISE else OF_ORACLE


def score(market: str, played: dict[str, Any], oracle: dict[str, Any]) -> float:
    """Return net P&L as percent of the oracle's; on noise in dollars per session."""
    return float(played["net"]) if market == NOISE else percent(played["net"], oracle["net"])


def final_score(result: dict[str, Any]) -> float:
    """Return the score of a result's policy: the one that was best on validation bars."""
    best = result["best"]
    return score(result["market"], best["policy"], best["oracle"])


def percent(net: float, oracle: float) -> float:
    """Return net P&L as percent of the oracle's; of its absolute value where it loses."""
    return 100.0 * net / abs(oracle) if oracle else float("nan")


def curve_of(result: dict[str, Any]) -> tuple[tuple[float, float], ...]:
    """Return processor seconds of training and score at every evaluation."""
    return tuple(
        (point["processor_s"], score(result["market"], point["policy"], point["oracle"]))
        for point in result["curve"]
    )


def seconds_to(result: dict[str, Any], part: float = 0.8) -> float:
    """Return processor seconds of training after which ``part`` of the final score is reached.

    The first evaluation that reaches it counts; evaluations on the way use a part of the unseen
    market. NaN where none reaches it, and on noise, where there is nothing to reach.
    """
    if result["market"] == NOISE:
        return float("nan")
    final = final_score(result)
    reached = (seconds for seconds, value in curve_of(result) if value >= part * final)
    return next(reached, float("nan"))


def with_error(values: list[float], signed: bool = False, digits: int = 1) -> str:
    """Return ``mean +- standard error`` as text."""
    mean, error = float(np.mean(values)), standard_error(values)
    shown = f"{mean:{'+' if signed else ''},.{digits}f}"
    return shown if np.isnan(error) else f"{shown} ± {error:.{digits}f}"
