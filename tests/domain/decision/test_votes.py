from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rllib_tactical.domain.decision.actions import LABELS, SIGNS
from rllib_tactical.domain.decision.votes import (
    Votes,
    constant_votes,
    greedy_votes,
    sample_votes,
    softmax,
)
from rllib_tactical.domain.types import AGENTS
from rllib_tactical.errors import ArrayError
from tests.domain.builders import seeds
from tests.wrong_arrays import assert_wrong_arrays_are_refused


def test_table_of_actions() -> None:
    by_label = {
        agent: dict(zip(LABELS[agent], row, strict=True))
        for agent, row in zip(AGENTS, SIGNS.tolist(), strict=True)
    }
    assert by_label == {
        "fvg": {"long": 1, "hold": 0, "short": -1},
        "momentum": {"up": 1, "neutral": 0, "down": -1},
        "entry": {"wait": -1, "execute": 0, "aggressive": 1},
    }


def test_signed_actions() -> None:
    votes = Votes(np.array([[0, 1, 2], [2, 0, 0], [1, 2, 1]]), np.ones((3, 3)))
    assert votes.signed.tolist() == [[1, 0, 1], [-1, 1, -1], [0, -1, 0]]


def test_softmax_by_hand() -> None:
    # exp(0) : exp(log 2) : exp(log 5) = 1 : 2 : 5
    logits = np.array([0.0, math.log(2.0), math.log(5.0)])
    np.testing.assert_allclose(softmax(logits, 1.0), [1 / 8, 2 / 8, 5 / 8], rtol=1e-14)
    # temperature 1/2 squares the ratios: 1 : 4 : 25
    np.testing.assert_allclose(softmax(logits, 0.5), [1 / 30, 4 / 30, 25 / 30], rtol=1e-14)


def test_temperature_per_agent() -> None:
    logits = np.tile(np.array([1.0, 2.0, 3.0]), (2, 3, 1))
    temperature = np.array([1.0, 1.2, 0.8])[:, None]
    out = softmax(logits, temperature)
    for agent, value in enumerate((1.0, 1.2, 0.8)):
        np.testing.assert_array_equal(out[1, agent], softmax(logits[0, 0], value))


@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=3, max_size=3), st.sampled_from([0.1, 1, 3])
)
def test_softmax_is_a_distribution(logits: list[float], temperature: float) -> None:
    out = softmax(np.array(logits, dtype=np.float32), temperature)
    assert out.dtype == np.float64
    assert (out >= 0).all()
    assert abs(out.sum() - 1.0) < 1e-12
    reverse = softmax(np.array(logits[::-1]), temperature)
    np.testing.assert_allclose(out[::-1], reverse, rtol=1e-14, atol=0)


@given(seeds)
def test_softmax_of_one_equals_its_row_of_many(seed: int) -> None:
    logits = np.random.default_rng(seed).normal(0, 3, (37, 3, 3)).astype(np.float32)
    temperature = np.array([1.0, 1.2, 0.8])[:, None]
    many = softmax(logits, temperature)
    for i in (0, 17, 36):
        np.testing.assert_array_equal(softmax(logits[i : i + 1], temperature)[0], many[i])


def test_greedy_takes_the_most_probable_and_its_probability() -> None:
    probabilities = np.array([[[0.2, 0.5, 0.3], [0.7, 0.2, 0.1], [0.1, 0.1, 0.8]]])
    votes = greedy_votes(probabilities)
    assert votes.index.tolist() == [[1, 0, 2]]
    assert votes.confidence.tolist() == [[0.5, 0.7, 0.8]]
    tied = greedy_votes(np.full((1, 3, 3), 1 / 3))
    assert tied.index.tolist() == [[0, 0, 0]]


def test_sampling_inverts_the_distribution_and_reports_the_chosen_probability() -> None:
    probabilities = np.tile(np.array([0.25, 0.5, 0.25]), (2, 3, 1))
    uniforms = np.array([[0.0, 0.2499, 0.25], [0.7499, 0.75, 0.9999]])
    votes = sample_votes(probabilities, uniforms)
    assert votes.index.tolist() == [[0, 0, 1], [1, 2, 2]]
    assert votes.confidence.tolist() == [[0.25, 0.25, 0.5], [0.5, 0.25, 0.25]]


def test_sampling_frequencies() -> None:
    probabilities = np.tile(np.array([0.6, 0.1, 0.3]), (40_000, 3, 1))
    votes = sample_votes(probabilities, np.random.default_rng(0).random((40_000, 3)))
    shares = np.bincount(votes.index.ravel(), minlength=3) / votes.index.size
    # standard error of a share is below sqrt(0.25 / 120,000) = 0.0014; five of them
    np.testing.assert_allclose(shares, [0.6, 0.1, 0.3], atol=0.007)


@pytest.mark.parametrize(
    ("row", "uniform", "expected"),
    [
        ([0.0, 1.0, 0.0], 0.0, 1),
        ([0.0, 0.0, 1.0], 0.0, 2),
        ([0.5, 0.5 - 1e-16, 0.0], 1 - 1e-16, 1),  # the sum of the first two falls short of 1
    ],
)
def test_impossible_actions_are_never_drawn(
    row: list[float], uniform: float, expected: int
) -> None:
    votes = sample_votes(np.tile(np.array(row), (1, 3, 1)), np.full((1, 3), uniform))
    assert votes.index.tolist() == [[expected] * 3]


def test_constant_votes() -> None:
    votes = constant_votes(np.array([[0, 1, 2]], dtype=np.int8), 0.9)
    assert votes.index.dtype == np.int64
    assert votes.confidence.tolist() == [[0.9, 0.9, 0.9]]


def test_wrong_arrays_are_refused() -> None:
    probabilities = np.full((4, 3, 3), 1 / 3)
    assert_wrong_arrays_are_refused(greedy_votes, probabilities=probabilities)
    assert_wrong_arrays_are_refused(
        sample_votes, probabilities=probabilities, uniforms=np.full((4, 3), 0.5)
    )
    assert_wrong_arrays_are_refused(
        partial(constant_votes, confidence=0.9), index=np.ones((4, 3), dtype=np.int64)
    )
    with pytest.raises(ArrayError, match=r"logits must be .*\(\.\.\., 3\), found .*\(3, 2\)"):
        softmax(np.zeros((3, 2)), 1.0)
    whole: Any = np.zeros((3, 3), dtype=np.int64)
    with pytest.raises(ArrayError, match=r"logits must be a floating array .* found an int64"):
        softmax(whole, 1.0)


def test_uniforms_are_not_broadcast() -> None:
    with pytest.raises(
        ArrayError, match=r"uniforms must be a float64 array of shape \(4, 3\), found .*\(3,\)"
    ):
        sample_votes(np.full((4, 3, 3), 1 / 3), np.zeros(3))


def test_take_keeps_the_kind_of_votes() -> None:
    index = np.array([[0, 1, 2], [2, 1, 0], [1, 1, 1]])
    for votes in (Votes(index, np.full((3, 3), 0.9)), constant_votes(index, 0.9)):
        for rows in (slice(1, 3), np.array([1, 2])):
            part = votes.take(rows)
            assert type(part) is type(votes)
            assert part.index.tolist() == [[2, 1, 0], [1, 1, 1]]
            assert part.confidence.shape == (2, 3)
