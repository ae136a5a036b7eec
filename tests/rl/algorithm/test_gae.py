from functools import partial
from typing import Any

import numpy as np
import pytest

from rllib_tactical.errors import ArrayError
from rllib_tactical.rl.algorithm.gae import generalized_advantages
from tests.wrong_arrays import assert_wrong_arrays_are_refused


def plain(values, rewards, terminated, gamma, lambda_):
    """One segment, straight from Schulman et al. (2016), eq. 11 to 16, as a double sum."""
    steps = len(rewards)
    v = list(values)
    if terminated:
        v[-1] = 0.0
    deltas = [rewards[t] + gamma * v[t + 1] - v[t] for t in range(steps)]
    return [
        sum((gamma * lambda_) ** k * deltas[t + k] for k in range(steps - t)) for t in range(steps)
    ]


def test_hand_computed():
    # gamma .5, lambda .5, V = 1 everywhere, r = 1: delta = 1 + .5 - 1 = .5
    # A_1 = .5, A_0 = .5 + .25 x .5 = .625; targets A + V
    advantages, targets = generalized_advantages(
        np.ones((3, 1)), np.ones((2, 1)), np.zeros((2, 1), bool), np.array([2]), 0.5, 0.5
    )
    np.testing.assert_allclose(advantages[:, 0], [0.625, 0.5])
    np.testing.assert_allclose(targets[:, 0], [1.625, 1.5])


def test_a_terminal_state_has_no_value():
    # the last delta is 1 - 1 = 0 instead of .5
    advantages, _ = generalized_advantages(
        np.ones((2, 1)), np.ones((1, 1)), np.ones((1, 1), bool), np.array([1]), 0.5, 0.5
    )
    assert advantages[0, 0] == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_the_definition_for_segments_of_any_length(seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 12, 7)
    terminated = rng.random(7) < 0.4
    values = rng.normal(size=(int((lengths + 1).sum()), 3))
    rewards = rng.normal(size=(int(lengths.sum()), 3))
    ends = np.zeros((len(rewards), 1), dtype=bool)
    ends[np.cumsum(lengths) - 1, 0] = terminated
    advantages, targets = generalized_advantages(values, rewards, ends, lengths, 0.97, 0.9)
    v = r = 0
    for length, ended in zip(lengths, terminated, strict=True):
        for agent in range(3):
            expected = plain(
                values[v : v + length + 1, agent], rewards[r : r + length, agent], ended, 0.97, 0.9
            )
            np.testing.assert_allclose(advantages[r : r + length, agent], expected, atol=1e-12)
        np.testing.assert_allclose(
            targets[r : r + length], advantages[r : r + length] + values[v : v + length]
        )
        v, r = v + length + 1, r + length


def test_no_segment_gives_nothing():
    advantages, _ = generalized_advantages(
        np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 1), bool), np.zeros(0, int), 0.9, 0.9
    )
    assert advantages.shape == (0, 3)


def test_nothing_is_counted_across_an_end_in_the_middle():
    """Two accounts of a group; the second one's episode ends after its first step."""
    rng = np.random.default_rng(1)
    values, rewards = rng.normal(size=(5, 2, 3)), rng.normal(size=(4, 2, 3))
    ends = np.zeros((4, 2, 1), dtype=bool)
    ends[0, 1] = True
    advantages, _ = generalized_advantages(values, rewards, ends, np.array([4]), 0.97, 0.9)
    for agent in range(3):
        whole = plain(values[:, 0, agent], rewards[:, 0, agent], False, 0.97, 0.9)
        np.testing.assert_allclose(advantages[:, 0, agent], whole)
        first = plain(values[:2, 1, agent], rewards[:1, 1, agent], True, 0.97, 0.9)
        rest = plain(values[1:, 1, agent], rewards[1:, 1, agent], False, 0.97, 0.9)
        np.testing.assert_allclose(advantages[:, 1, agent], first + rest)


def test_a_trace_of_zero_ends_what_a_step_is_credited_with():
    """With lambda 0 after the second step, the first two see nothing of the third but its value."""
    rng = np.random.default_rng(3)
    values, rewards = rng.normal(size=(5, 1)), rng.normal(size=(4, 1))
    trace = np.array([[0.9], [0.0], [0.9], [0.9]])
    whole, _ = generalized_advantages(
        values, rewards, np.zeros((4, 1), bool), np.array([4]), 0.97, trace
    )
    head, _ = generalized_advantages(
        values[:3], rewards[:2], np.zeros((2, 1), bool), np.array([2]), 0.97, 0.9
    )
    tail, _ = generalized_advantages(
        values[2:], rewards[2:], np.zeros((2, 1), bool), np.array([2]), 0.97, 0.9
    )
    np.testing.assert_allclose(whole, np.concatenate([head, tail]))


SEGMENTS: dict[str, Any] = {
    "values": np.ones((6, 2, 3)),
    "rewards": np.ones((4, 2, 3)),
    "terminated": np.zeros((4, 2, 1), dtype=bool),
    "lambda_": np.ones((4, 2, 1)),
}


def test_wrong_arrays_are_refused():
    function, lengths = partial(generalized_advantages, gamma=0.9), np.array([3, 1])
    others = {name: array for name, array in SEGMENTS.items() if name != "rewards"}
    given = partial(function, lengths=lengths, rewards=SEGMENTS["rewards"])
    assert_wrong_arrays_are_refused(given, **others)
    wrongs: tuple[Any, ...] = (np.ones(4), np.ones((4, 2, 3), dtype=np.float32))
    for wrong in wrongs:
        with pytest.raises(ArrayError, match=r"rewards must be a float64 array of shape"):
            function(lengths=lengths, rewards=wrong, **others)
    for wrong in (lengths[:, None], lengths.astype(float)):
        with pytest.raises(ArrayError, match=r"lengths must be an integer array of shape \(S,\)"):
            function(lengths=wrong, **SEGMENTS)


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([3], "lengths must sum to 4, the rows of rewards, found 3"),
        ([3, 2], "lengths must sum to 4, the rows of rewards, found 5"),
        ([], "lengths must sum to 4, the rows of rewards, found 0"),
        ([5, -1], "lengths must be >= 1, found -1"),
        ([4, 0], "lengths must be >= 1, found 0"),
    ],
)
def test_lengths_must_cover_all_rows(lengths, expected):
    with pytest.raises(ArrayError, match=expected):
        generalized_advantages(lengths=np.array(lengths, dtype=int), gamma=0.9, **SEGMENTS)
