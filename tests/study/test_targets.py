from __future__ import annotations

import numpy as np
import pytest

from rllib_tactical.study.analysis import answer, rows_of
from rllib_tactical.study.experiments import QUESTIONS
from rllib_tactical.study.targets import Target, seeds_unit, targets_of
from tests.study.results import noise_answer, result_of, run_of


def test_noise_is_told_in_dollars_beside_its_own_targets() -> None:
    """Net -9, -11, -13 with costs of 10: -1 before costs, with an error of 2 / sqrt 3 = 1.15."""
    found = noise_answer([-9.0, -11.0, -13.0])
    assert found.header[2] == "% of oracle; noise: $ per session"
    (cells,) = found.cells()
    assert cells[2] == "$-11.0 ± 1.2"
    assert cells[found.header.index("target")] == (
        "net + costs -1.0 ± 1.2 ≥ -2.3 met; trades 0.5 ± 0.0 ≤ 1.0 met"
    )
    assert cells[found.header.index("CPU s to 80%, of 4 evaluations")] == "-"
    net, gross, trades = rows_of(found)
    assert (net.unit, net.target) == ("$ per session, mean ± s.e. of 3 seeds", None)
    assert gross.name == "learnability: noise, default, net + costs"
    assert gross.measurement.median == pytest.approx(-1.0)
    assert gross.target == pytest.approx(-4 / np.sqrt(3))
    assert gross.met
    assert trades.met


@pytest.mark.parametrize(
    ("earned", "trades", "met"),
    [
        ([-13.0, -14.0, -15.0], 0.5, [False, True]),
        ([-9.0, -11.0, -13.0], 1.5, [True, False]),
        ([-11.5], 0.5, [True, True]),  # one seed: twice the error over its sessions, 1
        ([-12.5], 0.5, [False, True]),
    ],
)
def test_losses_beyond_the_costs_and_more_trades_miss_the_targets_on_noise(
    earned: list[float], trades: float, met: list[bool]
) -> None:
    found = noise_answer(earned, trades)
    assert [row.met for row in rows_of(found)[1:]] == met
    cell = found.cells()[0][found.header.index("target")]
    assert [part.endswith("met") for part in cell.split("; ")] == met


def test_markets_with_an_edge_show_their_verdict() -> None:
    """150 of the oracle's 200; as many trades as it; 80% of them profitable; 40 CPU seconds."""
    found = answer(QUESTIONS["learnability"], [(run_of(), result_of(run_of(), 150.0))])
    assert found.cells()[0][found.header.index("target")] == (
        "≥ 95.0 missed; trades 1.0 ≤ 1.5 met; win rate 80.0 ≥ 75.0 met; training 40.0 ≤ 90.0 met"
    )
    share, trades, rate, seconds = rows_of(found)
    assert (share.target, share.met) == (95.0, False)
    assert trades.met
    assert rate.met
    assert seconds.met


def test_a_market_has_its_own_target_or_none() -> None:
    results = [result_of(run_of("regime", seed), 110.0) for seed in (1, 2)]
    target = targets_of(results)[0]
    assert (target.bound, target.values, target.unit) == (88.0, [55.0, 55.0], "% of oracle")
    assert target.text() == "≥ 88.0 missed"
    assert target.row("regime").name == "regime"
    assert target.row("regime").met is False
    assert targets_of([results[0] | {"market": "another"}]) == ()


def test_a_bundle_that_never_trades_has_no_win_rate_to_meet_the_target() -> None:
    result = result_of(run_of(), 0.0)
    result["best"]["policy"] |= {"win_rate": None, "trades": 0.0}
    verdicts = {target.name: target.row("gap").met for target in targets_of([result])}
    assert verdicts == {"": False, "trades": True, "win rate": False, "training": True}


def test_a_target_below_its_bound_is_met_where_lower_is_better() -> None:
    target = Target("trades", "per session", [28.0, 30.0], 57.6, higher_is_better=False)
    assert target.text() == "trades 29.0 ± 1.0 ≤ 57.6 met"
    row = target.row("noise")
    assert (row.name, row.unit) == ("noise, trades", "per session, mean ± s.e. of 2 seeds")
    assert row.met


def test_the_unit_counts_the_seeds() -> None:
    assert seeds_unit("$", 1) == "$, mean ± s.e. of 1 seed"
    assert seeds_unit("$", 2) == "$, mean ± s.e. of 2 seeds"
