"""Equity and decisions as tables, from reports made by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd

from rllib_tactical.backtest.engine import hold_votes
from rllib_tactical.backtest.tables import decision_table, equity_table, utc_times
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.types import Reason
from tests.backtest.scenes import START, scene

QUIET = (100.0, 100.5, 99.5, 100.0)
HISTORY = scene([QUIET] * 4, session_bars=2)


def test_times_are_the_open_times_of_bars_in_utc() -> None:
    found = utc_times(HISTORY, np.array([0, 3]))
    assert found.tolist() == [
        pd.Timestamp("2023-11-15T00:00:00Z"),
        pd.Timestamp("2023-11-15T00:15:00Z"),
    ]


def test_the_account_begins_flat_with_the_equity_of_the_rules() -> None:
    log = {
        "side": np.array([1, 1, -1]),
        "held": np.array([2.0, 2.0, 0.5]),
        "equity": np.array([100_010.0, 99_990.0, 99_980.0]),
        "drawdown": np.array([0.0, 0.0002, 0.0003]),
    }
    table = equity_table(HISTORY, Rules(), START, START + 4, log)
    assert table["bar"].tolist() == [START, START + 1, START + 2, START + 3]
    assert table["equity"].tolist() == [100_000.0, 100_010.0, 99_990.0, 99_980.0]
    assert table["session_drawdown"].tolist() == [0.0, 0.0, 0.0002, 0.0003]
    assert table["position"].tolist() == [0.0, 2.0, 2.0, -0.5]
    sessions = HISTORY.sessions.session_id
    assert table["session"].tolist() == sessions[START : START + 4].tolist()


def test_a_decision_has_levels_only_where_it_opens_a_position() -> None:
    votes = hold_votes(4)
    votes.index[0] = (0, 2, 1)
    log = {
        "action": np.array([1, 0, -1]),
        "reason": np.array([Reason.EXECUTE, Reason.BELOW_THRESHOLD, Reason.CLOSE_OPPOSITE]),
        "winner": np.array([1, 1, -1]),
        "execute": np.array([True, False, True]),
        "closes": np.array([False, True, True]),
        "score": np.array([0.9, 0.5, 0.8]),
        "scores": np.array([[0.9, 0.0, 0.1], [0.5, 0.2, 0.3], [0.1, 0.8, 0.1]]),
        "requested": np.array([2.0, 0.0, 2.0]),
        "quantity": np.array([1.5, 0.0, 2.0]),
        "stop": np.array([98.0, 1.0, 2.0]),
        "target": np.array([103.0, 1.0, 2.0]),
        "entered": np.array([True, False, False]),
    }
    table = decision_table(HISTORY, votes, START, log)
    assert table["action"].tolist() == ["long", "hold", "short"]
    assert table["winner"].tolist() == ["long", "long", "short"]
    assert table["reason"].tolist() == ["execute", "below_threshold", "close_opposite"]
    assert table["closes"].tolist() == [False, False, True]  # what is not done closes nothing
    assert table["stop"].fillna(0.0).tolist() == [98.0, 0.0, 0.0]
    assert table["target"].fillna(0.0).tolist() == [103.0, 0.0, 0.0]
    signed = table[["vote_fvg", "vote_momentum", "vote_entry"]].to_numpy()
    assert signed[0].tolist() == [1, -1, 0]
    assert table["score_short"].tolist() == [0.0, 0.2, 0.8]
    assert (table["timestamp"] == utc_times(HISTORY, np.arange(START, START + 3))).all()
