from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from rllib_tactical.statistics.calibration import calibration_error, calibration_table, right_votes
from tests.backtest.scenes import result_of


def trades_of(*rows: dict[str, Any]) -> pd.DataFrame:
    return result_of([1000.0, 1000.0], [0, 0], list(rows)).trades


def test_which_votes_were_right() -> None:
    trades = trades_of(
        {"side": "long", "pnl": 50.0, "vote_fvg": 1, "vote_momentum": -1, "vote_entry": 0},
        {"side": "short", "pnl": -50.0, "vote_fvg": 1, "vote_momentum": -1, "vote_entry": 1},
        {"side": "short", "pnl": 9.0, "vote_fvg": 0, "vote_momentum": -1, "vote_entry": -1},
    )
    right = {name: votes.tolist() for name, votes in right_votes(trades).items()}
    assert right == {
        "fvg": [True, True, True],  # a short that loses would have paid long; $9 is flat
        "momentum": [False, False, True],
        "entry": [True, False, True],
        "ensemble": [True, False, True],
    }


def test_calibration_by_hand() -> None:
    # .72 and .78 share a tenth, of which half was right; .95 was right every time
    trades = trades_of(
        {"score": 0.72, "pnl": 50.0},
        {"score": 0.78, "pnl": -50.0},
        {"score": 0.95, "pnl": 50.0},
        {"score": 1.0, "pnl": 50.0},
    )
    table = calibration_table(trades)
    own = table[table["judge"] == "ensemble"]
    assert own["confidence"].tolist() == pytest.approx([0.75, 0.975])
    assert own["right"].tolist() == [0.5, 1.0]
    assert own["count"].tolist() == [2, 2]
    assert calibration_error(trades) == pytest.approx(0.5 * 0.25 + 0.5 * 0.025)


def test_without_a_trade_there_is_no_error() -> None:
    assert calibration_error(trades_of()) is None
