from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rllib_tactical.sweep.history import TrialHistory
from rllib_tactical.sweep.importance import FEW, better_trials, importances
from rllib_tactical.sweep.space import Domain, Space

SPACE = Space(
    (
        Domain("rate", "log_uniform", (0.0001, 0.01)),
        Domain("sizes", "choice", ([8], [16, 8])),
        Domain("epochs", "integer", (1, 4)),
        Domain("fixed", "choice", (1,)),
    )
)


def trials(count: int, score: str) -> list[TrialHistory]:
    """Return trials with random values, of which one decides the result."""
    rng = np.random.default_rng(0)
    made = []
    for number in range(count):
        params: dict[str, Any] = {
            "rate": float(10 ** rng.uniform(-4, -2)),
            "sizes": [[8], [16, 8]][int(rng.integers(2))],
            "epochs": int(rng.integers(1, 5)),
            "fixed": 1,
        }
        net_pnl = {
            "rate": np.log10(params["rate"]),
            "sizes": len(params["sizes"]) + rng.uniform(-0.1, 0.1),
            "nothing": 0.0,
        }[score]
        made.append(TrialHistory(number, params, {1: {"net_pnl": float(net_pnl), "seconds": 1.0}}))
    return made


@pytest.mark.parametrize("key", ["rate", "sizes"])
def test_the_value_that_decides_is_the_most_important(key: str) -> None:
    found = importances(SPACE, trials(80, key))
    assert found is not None
    assert next(iter(found)) == key
    assert found[key] > 0.7
    assert sum(found.values()) == pytest.approx(1.0)
    assert "fixed" not in found


def test_few_trials_or_equal_results_say_nothing() -> None:
    assert importances(SPACE, trials(FEW - 1, "rate")) is None
    assert importances(SPACE, trials(FEW, "rate")) is not None
    assert importances(SPACE, trials(FEW, "nothing")) is None
    unfinished = [TrialHistory(99, {}) for _ in range(FEW)]
    assert importances(SPACE, [*trials(FEW - 1, "rate"), *unfinished]) is None


def test_trials_that_came_to_the_same_are_on_one_side() -> None:
    assert better_trials([float(n) for n in range(9)]) == 4
    assert better_trials([3.0, 2.0, 1.5, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0]) == 4
    assert better_trials([5.0] * 6 + [1.0] * 4) == 6
    assert better_trials([3.0, 2.0, 1.0, *[0.0] * 9]) is None  # 3 are few
    assert better_trials([0.0] * 20) is None
    assert better_trials([1.0] * 4 + [0.0] * 3) is None


def test_trials_without_a_trade_do_not_hide_what_matters() -> None:
    """Most of them came to nothing, and which did was decided by one value."""
    made = trials(60, "rate")
    for each in made:
        rate = np.log10(each.params["rate"])
        each.results[1]["net_pnl"] = float(max(0.0, 100.0 * (rate + 2.6)))
    assert sum(each.score == 0.0 for each in made) > 36
    found = importances(SPACE, made)
    assert found is not None
    assert next(iter(found)) == "rate"
    assert found["rate"] > 0.7
