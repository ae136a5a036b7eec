from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from rllib_tactical.errors import ArrayError, DataError
from rllib_tactical.statistics.sharpe import deflated_sharpe, probabilistic_sharpe
from rllib_tactical.statistics.significance import Series, Significance, in_words, judge
from rllib_tactical.statistics.trials import Trials

DAYS = 250


def series(name: str, mean: float, seed: int, rival: bool = True, days: int = DAYS) -> Series:
    """Return days with exactly this mean P&L and a deviation of 100 dollars."""
    pnl = np.random.default_rng(seed).normal(size=days)
    pnl = mean + 100.0 * (pnl - pnl.mean()) / pnl.std()
    return Series(name, name.replace("_", " ").capitalize(), pnl, pnl / 100_000.0, rival)


def still(name: str) -> Series:
    return Series(name, "Always hold", np.zeros(DAYS), np.zeros(DAYS))


def judged(
    mean: float, rival: float, trades: int = 500, trials: Trials | None = None
) -> Significance:
    others = [still("always_hold"), series("random", rival, 2)]
    return judge(series("policy", mean, 1), others, trades, trials)


def test_an_edge_that_stands_out_has_its_size_and_p() -> None:
    significance = judged(40.0, 0.0)
    assert significance.outcome == "edge"
    # 1.96 x 100 / sqrt(250) = 12.4
    assert significance.pnl.half_width == pytest.approx(12.4, rel=0.25)
    text = in_words(significance)
    assert re.match(r"Edge of \$40\.00 \+/- \$1\d\.\d\d a day, p", text)
    assert text.endswith("p < 0.001, not deflated because the trials behind it are unknown.")


def test_a_gain_that_a_baseline_makes_too_is_no_edge_of_its_own() -> None:
    significance = judged(40.0, 38.0)
    assert significance.outcome == "not_distinguishable"
    assert in_words(significance).startswith(
        "Edge not distinguishable from Random ($2.00 a day more,"
    )


def test_a_gain_within_its_error_is_no_evidence() -> None:
    significance = judged(4.0, 0.0)
    assert significance.outcome == "no_edge"
    assert in_words(significance).startswith("No evidence of an edge: $4.00 a day, 95% interval -$")


@pytest.mark.parametrize(("trades", "days", "why"), [(29, DAYS, "trades"), (90, 19, "days")])
def test_too_few_trades_or_days_prove_nothing(trades: int, days: int, why: str) -> None:
    significance = judge(series("policy", 80.0, 1, days=days), [], trades)
    assert significance.outcome == "no_edge"
    assert f"fewer than {30 if why == 'trades' else 20} {why}" in in_words(significance)


def test_without_a_trade_there_is_nothing_to_judge() -> None:
    significance = judge(still("policy"), [series("random", 0.0, 2)], 0)
    assert significance.outcome == "nothing"
    assert significance.sharpe is None
    assert in_words(significance) == "No trade was made: there is nothing to judge."


@pytest.mark.slow
def test_the_best_of_many_trials_is_deflated_away() -> None:
    rng = np.random.default_rng(0)
    trials = Trials(tuple(map(str, range(100))), rng.normal(0.0, 100.0, (DAYS, 100)))
    alone, among = judged(16.0, -20.0), judged(16.0, -20.0, trials=trials)
    assert alone.outcome == "edge"
    assert among.outcome == "no_edge"
    policy = series("policy", 16.0, 1)
    assert alone.deflated_sharpe == probabilistic_sharpe(policy.returns)
    assert among.deflated_sharpe == deflated_sharpe(policy.returns, trials.sharpes)
    assert among.trials == 100
    assert "over 100 trials" in in_words(among)
    assert among.overfitting is not None
    assert 0.2 < among.overfitting < 0.8


def test_comparisons_are_paired_by_day() -> None:
    policy = series("policy", 20.0, 1)
    shifted = Series("random", "Random", policy.pnl - 5.0, policy.returns - 5e-5, True)
    (found,) = judge(policy, [shifted], 500).comparisons
    assert (found.pnl.estimate, found.pnl.low, found.pnl.high) == pytest.approx((5.0, 5.0, 5.0))
    # a difference of $5 a day at a deviation of $100, annualized
    assert found.sharpe.estimate == pytest.approx(0.05 * 252**0.5, rel=0.01)


@pytest.mark.slow
def test_a_rival_that_is_better_is_found() -> None:
    beaten, winning = judged(-30.0, 30.0).beaten_p_value, judged(30.0, -30.0).beaten_p_value
    assert beaten is not None
    assert winning is not None
    assert beaten < 0.01
    assert winning > 0.4


@pytest.mark.slow
def test_equal_seeds_give_equal_figures() -> None:
    assert judged(10.0, 0.0).to_dict() == judged(10.0, 0.0).to_dict()


def test_series_of_other_lengths_are_refused() -> None:
    with pytest.raises(DataError, match=r"the same for all policies, found \[240, 250\]"):
        judge(series("policy", 0.0, 1), [series("random", 0.0, 2, days=240)], 5)
    with pytest.raises(DataError, match="at least 2 days"):
        judge(Series("p", "P", np.ones(1), np.ones(1)), [], 5)


@pytest.mark.parametrize("field", ["pnl", "returns"])
def test_wrong_arrays_are_refused(field: str) -> None:
    good = series("policy", 1.0, 1)
    array = getattr(good, field)
    for wrong in (array[:, None], array.astype(np.int64)):
        other = dataclasses.replace(good, **{field: wrong})
        for policy, rival in ((other, good), (good, other)):
            with pytest.raises(ArrayError, match=r"(P&L|returns) of policy must be"):
                judge(policy, [rival], 100)
