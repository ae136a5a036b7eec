"""The criteria that end a run early."""

import json

import pytest

from rllib_tactical.config.training import StopConfig, TrainingConfig, ValidationConfig
from rllib_tactical.rl.training.stopping import StopRules


def rules(best_by="net_pnl", **stop):
    return StopRules(
        TrainingConfig(stop=StopConfig(**stop), validation=ValidationConfig(best_by=best_by))
    )


def progress(made, converged=False, seconds=10.0, env_steps=1_000):
    return made.of_progress(converged=converged, seconds=seconds, env_steps=env_steps)


def test_exact_credit_has_patience_of_its_own():
    assert TrainingConfig().patience == 5
    assert TrainingConfig(credit="sampled").patience == 0
    assert TrainingConfig(stop=StopConfig(patience=0)).patience == 0
    made = StopRules(TrainingConfig())
    for net_pnl in (3.0, 2.0, 1.0, 0.0, -1.0):
        made.take({"net_pnl": net_pnl})
        assert made.of_validation() is None
    made.take({"net_pnl": 2.5})
    assert made.of_validation() == "5 validations brought no better net_pnl"


def test_by_default_nothing_stops_a_run_with_sampled_credit():
    made = StopRules(TrainingConfig(credit="sampled"))
    for _ in range(100):
        made.take({"net_pnl": -1.0})
    assert made.of_validation() is None
    assert progress(made, converged=True, seconds=1e9, env_steps=10**12) is None


def test_patience_counts_evaluations_without_a_better_one():
    made = rules(patience=2)
    for pnl, stops in [(5.0, False), (4.0, False), (6.0, False), (6.0, False), (1.0, True)]:
        made.take({"net_pnl": pnl})
        assert (made.of_validation() is not None) is stops
    assert made.of_validation() == "2 validations brought no better net_pnl"


def test_an_undefined_figure_is_no_better_one():
    made = rules("sharpe", patience=2)
    made.take({"sharpe": None})
    made.take({"sharpe": None})
    assert made.of_validation() is not None


def test_patience_does_not_begin_before_there_is_a_reward():
    made = rules("reward", patience=1)
    for reward in (None, None, 1.0):
        made.take({"reward": reward})
        assert made.of_validation() is None
    made.take({"reward": 0.5})
    assert made.of_validation() is not None


def test_the_target_is_that_of_the_chosen_figure():
    made = rules("reward", target=3.0)
    made.take({"reward": 2.9, "net_pnl": 100.0})
    assert made.of_validation() is None
    made.take({"reward": 3.0, "net_pnl": -100.0})
    assert "reached 3" in made.of_validation()


@pytest.mark.parametrize(
    ("stop", "where", "said"),
    [
        ({"converged": True}, {"converged": True}, "converged"),
        ({"max_env_steps": 1_000}, {"env_steps": 1_000}, "1,000 steps"),
        ({"max_seconds": 60.0}, {"seconds": 60.0}, "60 s"),
    ],
)
def test_each_criterion_stops_and_none_before(stop, where, said):
    made = rules(**stop)
    assert progress(made, seconds=59.0, env_steps=999) is None
    assert said in progress(made, **where)


def test_rules_go_on_from_their_state():
    first, second = rules(patience=2), rules(patience=2)
    first.take({"net_pnl": 5.0})
    first.take({"net_pnl": 4.0})
    second.set_state(json.loads(json.dumps(first.get_state())))
    second.take({"net_pnl": 4.5})
    assert second.of_validation() is not None
    other = rules("sharpe", patience=2)
    other.set_state(second.get_state())  # dollars say nothing about ratios
    other.take({"sharpe": 0.1})
    assert other.of_validation() is None
