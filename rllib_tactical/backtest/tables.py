"""Turn the simulator's reports, one per bar, into the tables of equity and decisions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rllib_tactical.domain.decision.actions import ACTION_NAMES
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.votes import Votes
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.domain.types import AGENTS, IntArray, Reason

Log = dict[str, NDArray[Any]]
"""One array per reported quantity; first axis: the decision bars start .. stop - 2."""

_REASON_CODES = [reason.code for reason in Reason]
_ACTIONS = [ACTION_NAMES[sign] for sign in (-1, 0, 1)]


def utc_times(history: MarketHistory, bar: IntArray) -> pd.DatetimeIndex:
    """Return the UTC open times of bars (K,)."""
    return pd.to_datetime(history.bars.timestamp_s[bar], unit="s", utc=True)


def equity_table(
    history: MarketHistory, rules: Rules, start: int, stop: int, log: Log
) -> pd.DataFrame:
    """Return the account at the close of the bars start .. stop - 1, see ``BacktestResult``."""
    bar = np.arange(start, stop)
    signed = log["side"] * log["held"]
    return pd.DataFrame(
        {
            "bar": bar,
            "timestamp": utc_times(history, bar),
            "session": history.sessions.session_id[bar],
            "equity": np.concatenate([[rules.risk.initial_equity], log["equity"]]),
            "session_drawdown": np.concatenate([[0.0], log["drawdown"]]),
            "position": np.concatenate([[0.0], signed]),
        }
    )


def decision_table(history: MarketHistory, votes: Votes, start: int, log: Log) -> pd.DataFrame:
    """Return the decisions of the bars start .. stop - 2, see ``BacktestResult``."""
    count = len(log["action"])
    bar = np.arange(start, start + count)
    signed = votes.signed[:count]
    ordered = log["execute"] & ~log["closes"]
    columns: dict[str, Any] = {
        "bar": bar,
        "timestamp": utc_times(history, bar),
        "action": _named(log["action"] + 1, _ACTIONS),
        "execute": log["execute"],
        "closes": log["execute"] & log["closes"],
        "reason": _named(log["reason"], _REASON_CODES),
        "winner": _named(log["winner"] + 1, _ACTIONS),
        "score": log["score"],
        "score_long": log["scores"][:, 0],
        "score_short": log["scores"][:, 1],
        "score_hold": log["scores"][:, 2],
    }
    for column, agent in enumerate(AGENTS):
        columns[f"vote_{agent}"] = signed[:, column]
        columns[f"confidence_{agent}"] = votes.confidence[:count, column]
    columns["requested"] = log["requested"]
    columns["quantity"] = log["quantity"]
    columns["stop"] = np.where(ordered, log["stop"], np.nan)
    columns["target"] = np.where(ordered, log["target"], np.nan)
    columns["entered"] = log["entered"]
    return pd.DataFrame(columns)


def _named(code: IntArray, names: Sequence[str]) -> Any:
    return pd.Categorical.from_codes(code, pd.Index(names))
