"""A paper session has the tables of the backtest on the same bars."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pandas.testing import assert_frame_equal

from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.errors import DataError
from rllib_tactical.live.local import LocalService
from rllib_tactical.live.market import WholeMarket
from rllib_tactical.live.paper import PaperResult, PaperSession, follow
from rllib_tactical.live.result import session_result
from tests.contract import parity
from tests.domain.builders import hand_history

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["synthetic", "half_day", "halts"])
def test_the_tables_are_those_of_the_backtest(name: str, tmp_path: Path) -> None:
    case = getattr(parity, name)()
    case = case if name == "halts" else parity.holes(case)
    bundle = parity.opinionated(tmp_path / "bundle", case)
    expected = parity.backtest(bundle, case, tmp_path)
    market = WholeMarket(expected.history)
    session = PaperSession(
        market=market, initial_equity=100_000.0, rules=bundle.rules, rewards=expected.rewards
    )
    paper = follow(LocalService(bundle), session.calls())
    found = session_result(paper, bundle.rules, expected.rewards)
    assert_frame_equal(found.trades, expected.trades, check_exact=True)
    assert_frame_equal(found.equity, expected.equity, check_exact=True)
    np.testing.assert_array_equal(found.base, expected.base)
    np.testing.assert_array_equal(found.bonus, expected.bonus)
    same = (expected.trades["exit_reason"] == "halt").to_numpy()
    halted = set(expected.trades["exit_bar"][same] - 1)
    assert bool(halted) == (name == "halts")
    # the simulator closes a halted position by itself, the service orders it
    keep = ~expected.decisions["bar"].isin(halted)
    assert_frame_equal(found.decisions[keep], expected.decisions[keep], check_exact=True)
    ordered = found.decisions[~keep]
    assert (ordered["reason"] == "session_halted").all()
    assert ordered["closes"].all()


def test_a_session_without_a_fill_that_could_follow_has_no_result() -> None:
    history = hand_history([(100.0, 101.0, 99.0, 100.0)] * 3)
    empty = PaperResult(history)
    with pytest.raises(DataError, match="needs a decision and a bar after it, found none"):
        session_result(empty, Rules(), RewardConfig())
