from __future__ import annotations

import csv
import gzip
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_tactical.domain.features import indicators
from rllib_tactical.domain.features import table as features
from rllib_tactical.domain.features.table import (
    WARMUP_BARS,
    FeatureStream,
    FeatureTable,
    InputViews,
    compute_features,
    level_input,
    network_input,
    static_input,
)
from rllib_tactical.domain.types import NUM_FEATURES, WINDOW, Bars
from rllib_tactical.errors import FeatureError
from tests.domain.builders import bars_of, random_bars, seeds, tick_bars, walks
from tests.wrong_arrays import assert_wrong_arrays_are_refused


def rows_of(bars: Bars) -> list[tuple[float, ...]]:
    columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_columns_by_hand() -> None:
    rows = [
        (100.0, 101.0, 99.0, 101.0, 21.0),
        (101.0, 111.0, 101.0, 111.0, 42.0),
        (110.0, 112.0, 105.0, 110.0, 23.0),
        (110.0, 110.0, 105.0, 108.0, 0.0),
        (108.0, 109.0, 107.0, 109.0, 0.0),
        (109.0, 109.0, 107.0, 108.07, 0.0),
    ]
    table = compute_features(bars_of(rows))
    # born on bar 2 with zone [101, 105], touched on bar 3 (L = 105)
    assert table.birth.tolist() == [0, 0, 1, 0, 0, 0]
    np.testing.assert_array_equal(
        table.raw[:, :5],
        [
            [0, 0, 0, 0, 0],
            [0, 0, 0, 0, 0],
            [1, 0, 105, 0, 0],
            [1, 0, 105, 1, 1],
            [1, 0, 105, 2, 0],
            [1, 0, 105, 3, 0],
        ],
    )
    # (108.07 - 101) / 101 x 100 = 7
    np.testing.assert_allclose(table.raw[:, 5], [0, 0, 0, 0, 0, 7.0], rtol=1e-12)
    # EMA 21, 23, 23: V_2 equals EMA_1, so EMA_2 = 23 too
    np.testing.assert_allclose(table.raw[:, 6], [1, 42 / 23, 1, 0, 0, 0], rtol=1e-12)
    # TR 2, 10, 7 (H - C_1 = 1, C_1 - L = 6, H - L = 7), 5, 2, 2
    np.testing.assert_allclose(table.atr, [2, 6, 19 / 3, 6, 26 / 5, 28 / 6], rtol=1e-12)
    np.testing.assert_array_equal(table.close, [row[3] for row in rows])
    assert len(table) == 6


@pytest.mark.parametrize("length", [0, 1, 2, 5, 6])
def test_short_histories(length: int) -> None:
    table = compute_features(random_bars(np.random.default_rng(1), 6)[:length])
    assert table.raw.shape == (length, NUM_FEATURES)
    assert table.atr.shape == table.birth.shape == (length,)


@given(st.one_of(tick_bars(), walks()))
def test_stream_equals_batch_bit_for_bit(bars: Bars) -> None:
    table = compute_features(bars)
    stream = FeatureStream()
    for t, row in enumerate(rows_of(bars)):
        assert stream.push(*row) == tuple(table.raw[t].tolist())
        assert (stream.atr, stream.close, stream.birth) == (
            table.atr[t],
            table.close[t],
            table.birth[t],
        )
        assert stream.count == t + 1
        if t + 1 >= WINDOW:
            np.testing.assert_array_equal(stream.matrix(), table.raw[t + 1 - WINDOW : t + 1])


def test_matrix_needs_60_bars() -> None:
    stream = FeatureStream()
    for row in rows_of(random_bars(np.random.default_rng(2), WINDOW - 1)):
        stream.push(*row)
    with pytest.raises(FeatureError, match="needs 60 bars, found 59"):
        stream.matrix()
    stream.push(100.0, 101.0, 99.0, 100.0, 1.0)
    assert stream.matrix().shape == (WINDOW, NUM_FEATURES)


@given(st.one_of(tick_bars(min_size=1), walks()))
def test_values_stay_in_their_ranges(bars: Bars) -> None:
    raw = compute_features(bars).raw
    assert np.isfinite(raw).all()
    assert set(np.unique(raw[:, [0, 1, 4]])) <= {0.0, 1.0}
    some = (raw[:, 0] + raw[:, 1]) > 0
    assert ((raw[:, 2] > 0) == some).all()
    assert ((raw[:, 3] >= 0) & (raw[:, 3] <= 60)).all()
    assert (raw[~some, 3] == 0).all()
    assert (np.abs(raw[:, 5]) <= 10.0).all()
    assert ((raw[:, 6] >= 0) & (raw[:, 6] <= 10.5 * (1 + 1e-12))).all()


@given(tick_bars(min_size=1), st.sampled_from([0.25, 8.0]), st.sampled_from([0.5, 1024.0]))
def test_scaling_prices_or_volume_by_a_power_of_two_is_exact(
    bars: Bars, price_scale: float, volume_scale: float
) -> None:
    scaled = Bars(
        bars.timestamp_s,
        *(price_scale * column for column in (bars.open, bars.high, bars.low, bars.close)),
        *[volume_scale * bars.volume],
    )
    one, other = compute_features(bars), compute_features(scaled)
    expected = one.raw.copy()
    expected[:, 2] *= price_scale
    np.testing.assert_array_equal(other.raw, expected)
    np.testing.assert_array_equal(other.atr, price_scale * one.atr)
    if len(bars) >= WINDOW:
        t = np.arange(WINDOW - 1, len(bars))
        np.testing.assert_array_equal(InputViews(other).gather(t), InputViews(one).gather(t))


@settings(max_examples=25)
@given(seeds, st.integers(1, 700), st.sampled_from([1.0, 4.0, 12.0]))
def test_after_the_warm_up_the_start_no_longer_matters(
    seed: int, later: int, volatility: float
) -> None:
    bars = random_bars(np.random.default_rng(seed), 1_100, volatility=volatility)
    full, late = compute_features(bars), compute_features(bars[later:])
    known = slice(later + WARMUP_BARS, None)
    np.testing.assert_allclose(late.raw[WARMUP_BARS:], full.raw[known], rtol=0, atol=1e-6)
    np.testing.assert_allclose(late.atr[WARMUP_BARS:], full.atr[known], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(late.raw[WARMUP_BARS:, :5], full.raw[known, :5])


def test_before_the_warm_up_the_start_does_matter() -> None:
    bars = random_bars(np.random.default_rng(5), 600)
    full, late = compute_features(bars), compute_features(bars[300:])
    apart = np.abs(late.atr - full.atr[300:]) > 1e-6
    assert 100 < np.flatnonzero(apart).max() < WARMUP_BARS


def test_network_input_by_hand() -> None:
    raw = np.zeros((WINDOW, NUM_FEATURES))
    raw[0] = [1, 0, 104.0, 30, 1, 5.0, 3.0]
    raw[1] = [0, 1, 98.0, 60, 0, -2.5, 0.4]
    out = network_input(raw, np.array(100.0), np.array(2.0))
    assert out.dtype == np.float32
    assert out.shape == (WINDOW, NUM_FEATURES)
    # (104 - 100) / (4 x 2) = 0.5; 30 / 60; tanh(5 / 5); log(1 + (3 - 1)) = log 3
    expected = [1, 0, math.tanh(0.5), 0.5, 1, math.tanh(1.0), math.tanh(math.log(3.0))]
    np.testing.assert_allclose(out[0], expected, rtol=1e-7)
    # (98 - 100) / 8 = -0.25; a ratio below 1 counts as 1
    np.testing.assert_allclose(
        out[1], [0, 1, math.tanh(-0.25), 1, 0, math.tanh(-0.5), 0], rtol=1e-7
    )
    assert (out[2:] == 0.0).all()  # no level gives 0, not tanh(-close / 4 ATR)


def test_network_input_without_atr_has_no_level() -> None:
    raw = np.zeros((WINDOW, NUM_FEATURES))
    raw[:, 2] = 104.0
    assert (network_input(raw, np.array(100.0), np.array(0.0))[:, 2] == 0.0).all()


@given(st.one_of(walks(min_size=WINDOW, max_size=200), tick_bars(min_size=WINDOW, max_size=80)))
def test_gather_equals_network_input_bit_for_bit(bars: Bars) -> None:
    table = compute_features(bars)
    t = np.arange(WINDOW - 1, len(bars))
    gathered = InputViews(table).gather(t)
    assert gathered.dtype == np.float32
    assert gathered.flags.c_contiguous
    matrices = np.stack([table.raw[i + 1 - WINDOW : i + 1] for i in t])
    np.testing.assert_array_equal(gathered, network_input(matrices, table.close[t], table.atr[t]))
    for k in (0, len(t) - 1):  # one at a time, as the decision service does
        alone = network_input(matrices[k], table.close[t[k]], table.atr[t[k]])
        np.testing.assert_array_equal(gathered[k], alone)
    assert (np.abs(gathered) <= 1.0).all()


def test_gather_takes_bars_in_any_order_and_leaves_the_table_alone() -> None:
    views = InputViews(compute_features(random_bars(np.random.default_rng(3), 150)))
    t = np.array([149, 59, 100, 59])
    first = views.gather(t)
    expected = np.stack([views.gather(np.array([i]))[0] for i in t])
    first[:] = 9.0  # a caller may write into what it got
    np.testing.assert_array_equal(views.gather(t), expected)
    assert views.gather(t[:0]).shape == (0, WINDOW, NUM_FEATURES)


@pytest.mark.parametrize("t", [[WINDOW - 2], [99, WINDOW - 2]])
def test_gather_refuses_a_bar_without_a_window(t: list[int]) -> None:
    views = InputViews(compute_features(random_bars(np.random.default_rng(3), 100)))
    with pytest.raises(FeatureError, match="a window needs 60 bars, found 59"):
        views.gather(np.array(t))


def test_views_travel_without_their_overlap() -> None:
    views = InputViews(compute_features(random_bars(np.random.default_rng(3), 500)))
    packed = pickle.dumps(views)
    # per bar 7 float32 and 3 float64 are 52 bytes; the overlapping windows would be 2,640
    assert len(packed) < 500 * 60
    t = np.arange(WINDOW - 1, 500)
    np.testing.assert_array_equal(pickle.loads(packed).gather(t), views.gather(t))


@pytest.mark.parametrize("shape", [(7,), (59, 7), (60, 6), (3, 7, 60)])
def test_network_input_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(FeatureError, match=r"raw must be .* \(\.\.\., 60, 7\), found"):
        network_input(np.zeros(shape), np.array(1.0), np.array(1.0))


@pytest.mark.parametrize("place", ["raw", "close", "atr"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_network_input_refuses_values_that_are_not_finite(place: str, value: float) -> None:
    raw = np.zeros((WINDOW, NUM_FEATURES))
    raw[3, 4] = value if place == "raw" else 0.0
    close, atr = (np.array(value if place == name else 1.0) for name in ("close", "atr"))
    with pytest.raises(FeatureError, match="finite"):
        network_input(raw, close, atr)


def test_feature_hash_follows_the_specification(monkeypatch: pytest.MonkeyPatch) -> None:
    before = features.feature_hash()
    assert before == features.feature_hash()
    assert len(before) == 64
    monkeypatch.setitem(features.FEATURE_SPEC, "body_factor", 1.6)
    assert features.feature_hash() != before


def read_columns(path: Path) -> Bars:
    """Read a CSV of bars with the standard library, apart from the product's loaders."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = [tuple(map(float, row[1:])) for row in list(csv.reader(file))[1:]]
    return bars_of(rows)


@pytest.mark.realdata
def test_real_bars_give_the_specified_means(real_data: Path) -> None:
    """Means stated in section 2 of the specification, over all bars from bar 0."""
    (path,) = real_data.glob("TQQQ_5m*.csv.gz")
    table = compute_features(read_columns(path))
    assert len(table) == 79_720
    means = table.raw.mean(axis=0)
    np.testing.assert_allclose(
        means[[0, 1, 3, 4]], [0.603149, 0.596187, 12.857765, 0.116759], rtol=0, atol=5e-7
    )
    assert abs(float(table.atr.mean()) - 0.118990) < 5e-7


def test_momentum_of_the_stream_is_clipped() -> None:
    stream = FeatureStream()
    closes = [100.0, 100.0, 100.0, 100.0, 100.0, 150.0, 50.0]
    rows = [stream.push(c, c, c, c, 1.0) for c in closes]
    assert [row[5] for row in rows] == [0, 0, 0, 0, 0, 10.0, -10.0]
    assert indicators.momentum_5(np.array(closes)).tolist() == [row[5] for row in rows]


def test_table_length_is_the_number_of_bars() -> None:
    table = FeatureTable(np.zeros((4, 7)), np.zeros(4), np.zeros(4), np.zeros(4, dtype=np.int8))
    assert len(table) == 4


def test_wrong_arrays_are_refused() -> None:
    assert_wrong_arrays_are_refused(static_input, FeatureError, raw=np.zeros((5, NUM_FEATURES)))
    views = InputViews(compute_features(random_bars(np.random.default_rng(3), 100)))
    assert_wrong_arrays_are_refused(views.gather, FeatureError, t=np.array([80, 90]))
    whole: Any = np.ones(3, dtype=np.int64)
    with pytest.raises(FeatureError, match=r"level must be a float64 array .* found an int64"):
        level_input(whole, 1.0, 1.0)


@pytest.mark.parametrize("name", ["close_now", "atr_now"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 1)])
def test_network_input_needs_one_close_and_atr_per_matrix(
    name: str, shape: tuple[int, ...]
) -> None:
    now = {"close_now": np.ones(2), "atr_now": np.ones(2)} | {name: np.ones(shape)}
    with pytest.raises(FeatureError, match=rf"{name} must be .*\(2,\), found"):
        network_input(np.zeros((2, WINDOW, NUM_FEATURES)), **now)
