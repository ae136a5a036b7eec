"""Whether confidence means what it says: how often votes of a confidence were right."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from rllib_tactical.domain.types import AGENTS, BoolArray, FloatArray

FLAT_TRADE_DOLLARS: Final = 10.0
"""A trade whose P&L is smaller than this went nowhere: "hold" was the correct vote."""

JUDGES: Final = (*AGENTS, "ensemble")
BINS: Final = 10
BLOCK: Final = 20
"""Fewest trades of one step of a calibration."""

Calibration = tuple[tuple[float, float], ...]
"""Pairs of a decision's score and the probability of a profit at it, both rising."""


def fit_calibration(scores: FloatArray, won: BoolArray) -> Calibration:
    """Return how probable a profit is by score: isotonic regression of trades (N,).

    Trades are sorted by score into blocks of at least ``BLOCK``, and neighbors that fall with the
    score are merged (pool adjacent violators: Ayer et al., 1955). A block's probability is
    (wins + 1) / (trades + 2), so that none is 0 or 1. Empty with fewer than ``BLOCK`` trades.
    """
    order = np.argsort(scores, kind="stable")
    count = len(order) // BLOCK
    if not count:
        return ()
    blocks: list[tuple[float, float, float]] = []  # sum of scores, wins, trades
    for part in np.array_split(order, count):
        blocks.append((float(scores[part].sum()), float(won[part].sum()), float(len(part))))
        while len(blocks) > 1 and _share(blocks[-1]) <= _share(blocks[-2]):
            last, before = blocks.pop(), blocks.pop()
            blocks.append((before[0] + last[0], before[1] + last[1], before[2] + last[2]))
    return tuple((block[0] / block[2], _share(block)) for block in blocks)


def _share(block: tuple[float, float, float]) -> float:
    return (block[1] + 1.0) / (block[2] + 2.0)


def calibrated(calibration: Calibration, scores: FloatArray) -> FloatArray:
    """Return the probability of a profit (N,) at scores (N,), on lines between the steps."""
    known, probability = np.array(calibration).T
    found: FloatArray = np.interp(scores, known, probability)
    return found


def profit_calibration(trades: pd.DataFrame, calibration: Calibration) -> dict[str, float] | None:
    """Return how well scores and calibrated scores foretell a profit; None without either.

    Keys: ``trades``, ``win_rate``, and of the ``score`` and the ``calibrated`` score each the mean,
    the mean squared error (``brier``) and the expected calibration error (``error``).
    """
    if trades.empty or not calibration:
        return None
    won = (trades["pnl"] > 0).to_numpy()
    score = trades["score"].to_numpy(dtype=np.float64)
    found = {"trades": float(len(won)), "win_rate": float(won.mean())}
    for name, value in (("score", score), ("calibrated", calibrated(calibration, score))):
        tenth = np.minimum((value * BINS).astype(np.int64), BINS - 1)
        miss = np.bincount(tenth, value - won, BINS)
        found |= {
            f"{name}_mean": float(value.mean()),
            f"{name}_brier": float(((value - won) ** 2).mean()),
            f"{name}_error": float(np.abs(miss).sum() / len(won)),
        }
    return found


def right_votes(trades: pd.DataFrame) -> dict[str, BoolArray]:
    """Return for each agent and the ensemble which of K trades its vote at entry was right on.

    The direction that would have paid is the trade's side when it won and the other when it lost; a
    vote to hold is right when |P&L| < $10.
    """
    pnl = trades["pnl"].to_numpy()
    side = np.where(trades["side"] == "long", 1, -1)
    votes = {
        "fvg": trades["vote_fvg"].to_numpy(),
        "momentum": trades["vote_momentum"].to_numpy(),
        # execute is 0 and aggressive +1 in the agent's own code; wait is -1
        "entry": np.where(trades["vote_entry"].to_numpy() >= 0, side, 0),
        "ensemble": side,
    }
    paid = side * np.sign(pnl)
    flat = np.abs(pnl) < FLAT_TRADE_DOLLARS
    return {name: np.where(vote == 0, flat, vote == paid) for name, vote in votes.items()}


def calibration_table(trades: pd.DataFrame) -> pd.DataFrame:
    """Return one row per judge and bin of confidence that holds any trade.

    Columns: ``judge``, ``confidence`` (mean of the bin), ``right`` (share of right votes),
    ``count``. Bins are tenths. An agent's confidence is its vote's probability, the ensemble's the
    decision's score.
    """
    parts = []
    for judge, right in right_votes(trades).items():
        name = "score" if judge == "ensemble" else f"confidence_{judge}"
        confidence = trades[name].to_numpy(np.float64)
        tenth = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
        frame = pd.DataFrame({"bin": tenth, "confidence": confidence, "right": right})
        grouped = frame.groupby("bin").agg(
            confidence=("confidence", "mean"), right=("right", "mean"), count=("right", "size")
        )
        parts.append(grouped.reset_index(drop=True).assign(judge=judge))
    return pd.concat(parts, ignore_index=True)[["judge", "confidence", "right", "count"]]


def calibration_error(trades: pd.DataFrame) -> float | None:
    """Return the ensemble's expected calibration error; None without a trade.

    The mean over trades of |share right - mean confidence| of the trade's bin (Naeini, Cooper and
    Hauskrecht, 2015).
    """
    if trades.empty:
        return None
    table = calibration_table(trades)
    own = table[table["judge"] == "ensemble"]
    miss = (own["right"] - own["confidence"]).abs()
    return float((miss * own["count"]).sum() / own["count"].sum())
