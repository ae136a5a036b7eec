from __future__ import annotations

import dataclasses
import math
from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from rllib_tactical.domain.features.synergy import SynergyTrack, detect_synergies
from rllib_tactical.domain.features.table import WARMUP_BARS, compute_features
from rllib_tactical.domain.simulation.history import (
    EMBARGO_BARS,
    MARKET_FEATURES,
    MarketHistories,
    Split,
    build_history,
    split_history,
)
from rllib_tactical.domain.types import WINDOW, AnyArray, Sessions
from rllib_tactical.errors import DataError
from tests.domain.builders import FUTURE, SHARE, hand_history, random_bars, sessions_of_lengths
from tests.wrong_arrays import assert_wrong_arrays_are_refused

BARS = random_bars(np.random.default_rng(0), 400)


def test_embargo_is_the_window_and_the_warm_up() -> None:
    assert EMBARGO_BARS == WINDOW + WARMUP_BARS == 360


def test_shortest_history_allows_one_decision_and_one_fill() -> None:
    history = build_history(BARS[:361], sessions_of_lengths(361), FUTURE)
    assert history.first_decision == 359  # rows 300..359: each has seen the warm-up
    assert len(history) == 361
    assert history.inputs.gather(np.array([history.first_decision, 360])).shape == (2, 60, 7)


def test_fewer_bars_are_refused() -> None:
    with pytest.raises(DataError, match=r"at least 361 bars are needed .*found 360"):
        build_history(BARS[:360], sessions_of_lengths(360), FUTURE)


def test_history_holds_the_features_and_detected_synergies() -> None:
    history = build_history(BARS, sessions_of_lengths(400), FUTURE)
    features = compute_features(BARS)
    np.testing.assert_array_equal(history.features.raw, features.raw)
    np.testing.assert_array_equal(history.synergy.kind, detect_synergies(features).kind)
    events = SynergyTrack.none(400)
    assert build_history(BARS, sessions_of_lengths(400), FUTURE, events).synergy is events


def test_splits_by_hand() -> None:
    train, validation, test = split_history(10_000, (0.6, 0.2, 0.2))
    # the first decision of a history is on bar 359; later splits start 360 bars late
    assert train == Split("train", 359, 6_000)
    assert validation == Split("validation", 6_360, 8_000)
    assert test == Split("test", 8_360, 10_000)


@pytest.mark.parametrize("fractions", [(1.0, 0.0, 0.0), (0.7, 0.3, 0.0), (0.5, 0.0, 0.5)])
def test_splits_with_an_empty_share(fractions: tuple[float, float, float]) -> None:
    splits = split_history(5_000, fractions)
    for split, share in zip(splits, fractions, strict=True):
        assert (split.start < split.stop) == (share > 0)
        assert split.start <= split.stop <= 5_000


def test_nothing_a_later_split_sees_belongs_to_an_earlier_one() -> None:
    """A matrix and its warm-up reach back over 360 bars, the decision bar included."""
    for length in (3_000, 3_001, 7_919):
        splits = split_history(length, (0.5, 0.25, 0.25))
        for before, after in pairwise(splits):
            assert after.start - (WINDOW - 1) - WARMUP_BARS > before.stop - 1
        assert splits[2].stop == length


def test_split_that_the_embargo_eats_up() -> None:
    with pytest.raises(DataError, match="the validation split needs more than 360 bars"):
        split_history(3_000, (0.8, 0.1, 0.1))
    with pytest.raises(DataError, match="the train split"):
        split_history(359, (1.0, 0.0, 0.0))


def test_market_features_by_hand() -> None:
    kind = np.array([0, 3], dtype=np.int8)
    synergy = SynergyTrack(kind, np.array([0, -1], dtype=np.int8), np.array([0.0, 0.4]))
    whole = sessions_of_lengths(2)
    quarter = Sessions.without_gaps(
        whole.session_id, whole.is_first, whole.is_last, np.array([0.25, 1.0])
    )
    history = hand_history(
        [(50, 51, 49, 50), (50, 81, 49, 80)], atr=2.0, sessions=quarter, synergy=synergy
    )
    out = history.market_features(np.array([1, 0]))
    assert out.dtype == np.float32
    expected = [
        [math.sin(2 * math.pi), 1.0, 0, 0, 1, 0, -1, 0.4, 2 / 80],
        [1.0, math.cos(math.pi / 2), 0, 0, 0, 0, 0, 0, 2 / 50],
    ]
    np.testing.assert_allclose(out, expected, atol=1e-7)
    assert len(MARKET_FEATURES) == 9
    assert MARKET_FEATURES[2:6] == tuple(f"synergy_type_{i}" for i in range(1, 5))


def test_running_bar_numbers_reach_the_right_history() -> None:
    first = build_history(BARS, sessions_of_lengths(400), FUTURE)
    other = random_bars(np.random.default_rng(1), 500)
    second = build_history(other, sessions_of_lengths(500), SHARE)
    histories = MarketHistories((first, second))
    assert histories.offsets.tolist() == [0, 400, 900]
    bars = np.array([400 + 450, 380, 399, 400 + 59, 899])
    asked = [(second, 450), (first, 380), (first, 399), (second, 59), (second, 499)]
    for got, method in (
        (histories.gather(bars), lambda history, t: history.inputs.gather(t)),
        (histories.market_features(bars), lambda history, t: history.market_features(t)),
    ):
        expected = np.concatenate([method(history, np.array([t])) for history, t in asked])
        np.testing.assert_array_equal(got, expected)
        assert got.dtype == np.float32
    assert histories.gather(np.array([], dtype=np.int64)).shape == (0, 60, 7)


def test_wrong_arrays_are_refused() -> None:
    sessions = sessions_of_lengths(len(BARS))
    synergy = detect_synergies(compute_features(BARS))
    arrays = {
        field.name: getattr(record, field.name)
        for record in (sessions, synergy)
        for field in dataclasses.fields(record)
    }

    def built(**arrays: AnyArray) -> None:
        parts = [
            {field.name: arrays[field.name] for field in dataclasses.fields(kind)}
            for kind in (Sessions, SynergyTrack)
        ]
        build_history(BARS, Sessions(**parts[0]), FUTURE, SynergyTrack(**parts[1]))

    assert_wrong_arrays_are_refused(built, **arrays)
    history = build_history(BARS, sessions, FUTURE)
    columns = {name: getattr(history.features, name) for name in ("raw", "atr", "close")}

    def with_features(**columns: AnyArray) -> None:
        features = dataclasses.replace(history.features, **columns)
        dataclasses.replace(history, features=features)

    assert_wrong_arrays_are_refused(with_features, **columns)
    assert_wrong_arrays_are_refused(history.market_features, t=np.array([370, 380]))
    both = MarketHistories((history, history))
    context = partial(both.decision_context, hold_bars_after_gap=5)
    for function in (both.gather, both.market_features, context):
        assert_wrong_arrays_are_refused(function, bar=np.array([370, 780]))


def test_orders_are_refused_where_the_market_is_closed_and_after_a_gap() -> None:
    sessions = sessions_of_lengths(200, len(BARS) - 200)
    since_gap = np.minimum(np.abs(np.arange(len(BARS)) - 30), 60)
    sessions = dataclasses.replace(sessions, since_gap=since_gap)
    both = MarketHistories((build_history(BARS, sessions, FUTURE),) * 2)
    for first in (0, len(BARS)):
        _, _, refused = both.decision_context(first + np.array([30, 34, 35, 199, 200]), 5)
        assert refused.tolist() == [True, True, False, True, False]


def test_a_history_until_a_bar_is_what_was_known_then() -> None:
    """Equal to the history built from those bars alone; detected synergies are causal, too."""
    history = build_history(BARS, sessions_of_lengths(300, 100), FUTURE)
    cut = history.until(380)
    bars = np.arange(359, 380)
    known = build_history(BARS[:380], history.until(380).sessions, FUTURE)
    assert len(cut) == len(cut.sessions.is_last) == len(cut.features) == 380
    assert not cut.sessions.is_last[-1]
    np.testing.assert_array_equal(cut.bars.close, known.bars.close)
    np.testing.assert_array_equal(cut.features.raw, known.features.raw)
    np.testing.assert_array_equal(cut.synergy.kind, known.synergy.kind)
    np.testing.assert_array_equal(cut.inputs.gather(bars), known.inputs.gather(bars))
    np.testing.assert_array_equal(cut.market_features(bars), history.market_features(bars))
