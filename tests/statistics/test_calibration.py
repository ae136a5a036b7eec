from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rllib_tactical.statistics.calibration import (
    calibrated,
    calibration_error,
    calibration_table,
    fit_calibration,
    profit_calibration,
    right_votes,
)
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


def test_a_calibration_rises_in_steps() -> None:
    """Blocks of 20: 5, 15 and 10 wins; the last two fall and are merged to 25 of 40."""
    scores = np.repeat([0.7, 0.8, 0.9], 20)
    won = np.concatenate([np.arange(20) < wins for wins in (5, 15, 10)])
    found = fit_calibration(scores, won)
    np.testing.assert_allclose(found, [(0.7, 6 / 22), (0.85, 26 / 42)])
    middle = (6 / 22 + 26 / 42) / 2
    seen = calibrated(found, np.array([0.5, 0.775, 0.99]))
    assert seen == pytest.approx([6 / 22, middle, 26 / 42])
    assert fit_calibration(scores[:19], won[:19]) == ()


def test_calibrated_scores_foretell_profits_that_raw_ones_overstate() -> None:
    rng = np.random.default_rng(0)

    def trades() -> pd.DataFrame:
        score = rng.uniform(0.65, 1.0, 4_000)
        won = rng.random(4_000) < score - 0.3
        return pd.DataFrame({"score": score, "pnl": np.where(won, 5.0, -5.0)})

    seen, unseen = trades(), trades()
    fitted = fit_calibration(seen["score"].to_numpy(), (seen["pnl"] > 0).to_numpy())
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in itertools.pairwise(fitted))
    found = profit_calibration(unseen, fitted)
    assert found is not None
    assert found["score_error"] == pytest.approx(0.3, abs=0.03)
    assert found["calibrated_error"] < 0.05
    assert found["calibrated_brier"] < found["score_brier"]
    assert found["calibrated_mean"] == pytest.approx(found["win_rate"], abs=0.03)
    assert profit_calibration(unseen, ()) is None
    assert profit_calibration(unseen[:0], fitted) is None
