"""A sweep in which nothing was traded, or in which trials cannot be told apart."""

from pathlib import Path

import numpy as np
import pytest

from rllib_tactical.artifacts.storage import place_of
from rllib_tactical.statistics.significance import Series, judge
from rllib_tactical.statistics.trials import Trials
from rllib_tactical.sweep.folder import SweepFolder
from rllib_tactical.sweep.history import TrialHistory
from rllib_tactical.sweep.importance import importances
from rllib_tactical.sweep.report import _verdict
from rllib_tactical.sweep.results import Conclusion, result_lines
from rllib_tactical.sweep.space import Space


def trial(number, net_pnl, trades, rate=0.001):
    result = {
        "iteration": 1, "net_pnl": net_pnl, "trades": trades, "temperature_scale": 1.0,
        "env_steps": 10, "seconds": 1.0,
    }  # fmt: skip
    return TrialHistory(number, {"training.learning_rate": rate}, {1: result}, "finished")


def lines_of(best, path: Path):
    folder = SweepFolder(place_of(path))
    folder.history = {0: best}
    return "\n".join(result_lines(Conclusion(best, None, None, None), folder))


def test_it_says_that_nothing_was_traded_and_exports_nothing_unasked(tmp_path):
    idle, busy = trial(0, 0.0, 0), trial(1, 5.0, 3)
    assert not idle.traded
    assert busy.traded
    text = lines_of(idle, tmp_path)
    assert "the best is to make no trade" in text
    assert "no bundle is made" in text
    assert "tactical export" in text
    assert "best: trial" not in text
    assert "best: trial 1" in lines_of(busy, tmp_path)
    assert "The best of 4 trials makes no trade" in _verdict(idle, 4, None)


def test_importance_is_unknown_where_ties_hide_the_better_half():
    space = Space.parse({"training.learning_rate": {"log_uniform": [1e-4, 1e-2]}})
    tied = [trial(k, float(max(0, k - 6)), k, 10.0 ** -(2 + k / 5)) for k in range(8)]
    assert importances(space, tied) is None
    apart = [trial(k, float(k), k, 10.0 ** -(2 + k / 5)) for k in range(8)]
    assert importances(space, apart) == {"training.learning_rate": pytest.approx(1.0)}


def test_trials_that_never_trade_have_no_probability_of_overfitting():
    rng = np.random.default_rng(0)
    days = rng.normal(1.0, 10.0, 100)
    policy = Series("policy", "Policy", days, days / 1e5)
    flat = Trials(("a", "b"), np.zeros((100, 2)))
    assert judge(policy, [], 50, flat).overfitting is None
    assert (
        judge(policy, [], 50, Trials(("a", "b"), rng.normal(size=(100, 2)))).overfitting is not None
    )
