from __future__ import annotations

from typing import Any

from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from rllib_tactical.sweep.search import make_scheduler, make_search, objective
from tests.sweep.conftest import parse

PBT = {
    "scheduler": "pbt",
    "samples": 4,
    "pbt": {"interval": 2},
    "config": {"training": {"iterations": 10, "checkpoint_every": 1}},
}


def drawn(search: Any, count: int) -> list[dict[str, Any]]:
    return [search.suggest(f"trial_{k}") for k in range(count)]


def test_a_population_is_judged_by_what_it_is_and_others_by_their_best() -> None:
    assert objective(parse(**PBT)) == "net_pnl"
    assert objective(parse(scheduler="asha")) == objective(parse()) == "best_net_pnl"


def test_optuna_numbers_its_trials_and_gives_those_that_began_their_values_again() -> None:
    spec = parse(search="optuna")
    known = {0: {"training.actor_lr": 0.0002}, 1: {"training.actor_lr": 0.0005}}
    search = make_search(spec, known | {3: {"training.actor_lr": 0.0009}})
    search.set_search_properties(None, None, spec.domains.tune_space(grid=False))
    first, second, third = drawn(search, 3)
    assert first == {"training.actor_lr": 0.0002, "trial_number": 0}
    assert second == {"training.actor_lr": 0.0005, "trial_number": 1}
    # trial 2 is not known: nothing after it is either
    assert third["trial_number"] == 2
    assert 0.0001 <= third["training.actor_lr"] <= 0.001


def test_the_same_seed_draws_the_same_values() -> None:
    spec, other = parse(search="optuna"), parse(search="optuna", seed=1)

    def values(of: Any) -> list[float]:
        search = make_search(of, {})
        search.set_search_properties(None, None, of.domains.tune_space(grid=False))
        return [each["training.actor_lr"] for each in drawn(search, 3)]

    assert values(spec) == values(spec) != values(other)


def test_results_without_the_objective_do_not_stop_optuna() -> None:
    spec = parse(search="optuna")
    search = make_search(spec, {})
    search.set_search_properties(None, None, spec.domains.tune_space(grid=False))
    drawn(search, 1)
    search.on_trial_result("trial_0", {"refused": "no", "training_iteration": 1})
    search.on_trial_result("trial_0", {"best_net_pnl": 5.0, "training_iteration": 2})


def test_a_scheduler_is_that_of_the_sweep() -> None:
    assert type(make_scheduler(parse(), {})) is FIFOScheduler
    asha = make_scheduler(parse(scheduler="asha", asha={"grace": 2, "reduction": 4}), {})
    assert isinstance(asha, ASHAScheduler)
    assert (asha._metric, asha._mode) == ("best_net_pnl", "max")
    assert asha._reduction_factor == 4
    assert asha._max_t == parse().config.training.iterations


def test_a_member_that_reached_the_end_is_left_alone() -> None:
    scheduler = make_scheduler(parse(**PBT), {})
    assert (
        scheduler.on_trial_result(None, None, {"iteration": 10, "net_pnl": 1.0})
        == TrialScheduler.CONTINUE
    )


def test_a_population_that_goes_on_meets_where_its_last_member_is() -> None:
    spec = parse(**PBT)

    def meeting(reached: dict[int, int], ended: int) -> int:
        return int(make_scheduler(spec, reached, ended)._next_perturbation_sync)

    assert meeting({}, 0) == 2
    assert meeting({0: 5, 1: 4, 2: 4, 3: 6}, 0) == 6
    assert meeting({0: 5, 1: 4, 2: 3}, 0) == 2  # one has not begun
    assert meeting({0: 9, 1: 8}, 2) == 10  # the others are done
