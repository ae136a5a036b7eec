"""Whether confidence means what it says: how often votes of a confidence were right."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from rllib_tactical.domain.types import AGENTS, BoolArray

FLAT_TRADE_DOLLARS: Final = 10.0
"""A trade whose P&L is smaller than this went nowhere: "hold" was the correct vote."""

JUDGES: Final = (*AGENTS, "ensemble")
BINS: Final = 10


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
