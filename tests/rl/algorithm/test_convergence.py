"""Convergence and trends, by hand."""

import json

import numpy as np
import pytest

from rllib_tactical.rl.algorithm.convergence import Monitor, coefficient_of_variation, trend


def test_the_variation_is_that_of_the_last_hundred_episodes():
    """99 x 1 and one 2: mean 1.01, sample standard deviation 0.1."""
    monitor = Monitor()
    assert monitor.update([7.0] * 50, {})["reward_cv"] is None
    figures = monitor.update([1.0] * 99 + [2.0], {})
    assert figures["reward_cv"] == pytest.approx(0.1 / 1.01)
    assert figures["reward_mean"] == pytest.approx(1.01)
    assert figures["episodes"] == 150
    assert figures["converged"] is False


def test_best_worst_and_deviation_are_of_the_last_hundred_episodes():
    monitor = Monitor()
    assert monitor.update([], {})["reward_best"] is None
    assert monitor.update([50.0], {})["reward_deviation"] is None
    figures = monitor.update([1.0, 3.0] * 50, {})  # the 50 is the 101st back
    assert (figures["reward_best"], figures["reward_worst"]) == (3.0, 1.0)
    assert figures["reward_deviation"] == pytest.approx(np.std([1.0, 3.0] * 50, ddof=1))


def test_episodes_are_counted_from_the_look_that_found_it_converged():
    monitor = Monitor()
    assert monitor.update([1.0] * 99, {})["episodes_since_convergence"] is None
    assert monitor.update([1.0] * 26, {})["episodes_since_convergence"] == 25  # looked at 100
    other = Monitor()
    other.set_state(json.loads(json.dumps(monitor.get_state())))
    assert other.update([1.0], {})["episodes_since_convergence"] == 26
    assert other.update([9.0] * 10, {})["episodes_since_convergence"] is None
    old = monitor.get_state()
    del old["converged_at"]  # as version 1 wrote it
    other.set_state(old)
    assert other.update([1.0] * 3, {})["episodes_since_convergence"] == 3


def test_a_reward_to_decide_by_takes_a_hundred_episodes():
    monitor = Monitor()
    assert monitor.update([1.0] * 99, {})["reward_mean"] == 1.0
    assert monitor.reward is None
    monitor.update([2.0, 2.0], {})
    assert monitor.reward == pytest.approx(1.02)
    monitor.clear()
    assert monitor.reward is None


def test_it_is_looked_at_every_ten_episodes():
    monitor = Monitor()
    monitor.update([1.0, 3.0] * 50, {})
    before = monitor.update([100.0] * 9, {})["reward_cv"]
    assert before == pytest.approx(np.std([1.0, 3.0] * 50, ddof=1) / 2.0)
    assert monitor.update([100.0], {})["reward_cv"] > before


@pytest.mark.parametrize(("spread", "converged"), [(0.049, True), (0.051, False)])
def test_converged_is_below_five_percent(spread, converged):
    size = spread / (np.std([1.0, -1.0] * 50, ddof=1))
    rewards = [-10 * (1 + size), -10 * (1 - size)] * 50  # losses may converge too
    assert Monitor().update(rewards, {})["converged"] is converged


def test_too_few_episodes_or_a_mean_of_zero_have_no_variation():
    assert coefficient_of_variation([1.0] * 99) is None
    assert coefficient_of_variation([0.0] * 100) is None
    assert coefficient_of_variation([1.0] * 100) == 0.0


def test_a_trend_is_the_change_of_a_fitted_line():
    """10, 9, 8, 7, 6 falls by 4 around a mean of 8."""
    assert trend([10.0, 9.0, 8.0, 7.0, 6.0]) == pytest.approx(-0.5)
    assert trend([1.0] * 4) is None
    assert trend([0.0] * 5) is None
    assert trend([3.0] * 9) == pytest.approx(0.0)


def test_a_monitor_goes_on_from_its_state_even_as_json():
    rng = np.random.default_rng(0)
    rewards, losses = rng.normal(3, 1, 333).tolist(), rng.normal(size=40).tolist()

    def figures(monitor, first, stop):
        return [
            monitor.update(rewards[k * 8 : k * 8 + 8], {"value_loss": losses[k]})
            for k in range(first, stop)
        ]

    whole, first, second = Monitor(), Monitor(), Monitor()
    figures(first, 0, 23)
    second.set_state(json.loads(json.dumps(first.get_state())))
    expected = figures(whole, 0, 40)[23:]
    assert figures(second, 23, 40) == expected
    assert expected[-1]["reward_cv"] is not None


def test_another_market_begins_anew_but_counts_on():
    monitor = Monitor()
    monitor.update([1.0] * 100, {"value_loss": 1.0})
    converged = monitor.converged
    monitor.clear()
    assert (converged, monitor.converged) == (True, False)
    assert monitor.update([], {})["episodes"] == 100
