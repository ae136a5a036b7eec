from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray

from rllib_tactical.domain.features.synergy import (
    NO_SYNERGY,
    Synergy,
    SynergyStream,
    SynergyTrack,
    detect_synergies,
)
from rllib_tactical.domain.features.table import FeatureStream, FeatureTable, compute_features
from rllib_tactical.domain.types import Bars, FloatArray
from rllib_tactical.errors import FeatureError
from tests.domain.builders import random_bars, walks
from tests.wrong_arrays import assert_wrong_arrays_are_refused

QUIET = 100  # bars before the first signal: momentum has no percentile sooner
LENGTH = 140


def table_with(
    gaps: dict[int, int], momentum: dict[int, float], volume: tuple[int, ...], length: int = LENGTH
) -> FeatureTable:
    """Return features with signals at bars QUIET + key; all the rest is quiet."""
    raw = np.zeros((length, 7))
    raw[:, 6] = 1.0
    birth = np.zeros(length, dtype=np.int8)
    for t, sign in gaps.items():
        birth[QUIET + t] = sign
    for t, value in momentum.items():
        raw[QUIET + t, 5] = value
    raw[[QUIET + t for t in volume], 6] = 1.6
    return FeatureTable(raw, np.ones(length), np.ones(length), birth)


def found(track: SynergyTrack) -> dict[int, tuple[int, int, float]]:
    """Return {bar - QUIET: (kind, direction, confidence)} where a synergy is in force."""
    return {
        int(t) - QUIET: (
            int(track.kind[t]),
            int(track.direction[t]),
            round(float(track.confidence[t]), 12),
        )
        for t in np.flatnonzero(track.kind)
    }


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("gap", "momentum", "volume", "kind", "confidence"),
    [
        (0, 2, 4, 1, 0.6),  # the gap came first; the signals took 4 of 10 bars
        (0, 0, 3, 2, 0.7),  # gap and momentum on one bar
        (3, 1, 2, 3, 0.8),  # momentum first
        (4, 2, 0, 4, 0.6),  # volume first
        (1, 1, 1, 2, 1.0),  # all on one bar
        (0, 0, 9, 2, 0.1),  # the 10th bar still belongs to the window
    ],
)
def test_kind_follows_the_first_signal_and_holds_for_three_bars(
    sign: int, gap: int, momentum: int, volume: int, kind: int, confidence: float
) -> None:
    track = detect_synergies(table_with({gap: sign}, {momentum: sign * 2.0}, (volume,)))
    done = max(gap, momentum, volume)
    assert found(track) == {done + i: (kind, sign, confidence) for i in range(3)}


def test_signals_farther_apart_than_the_window_do_not_count() -> None:
    assert found(detect_synergies(table_with({0: 1}, {5: 2.0}, (10,)))) == {}


@pytest.mark.parametrize(
    ("gaps", "momentum", "volume"),
    [
        ({}, {0: 2.0}, (1,)),
        ({0: 1}, {}, (1,)),
        ({0: 1}, {0: 2.0}, ()),
        ({0: 1}, {0: -2.0}, (1,)),  # gap and momentum disagree
    ],
)
def test_all_three_signals_must_agree(
    gaps: dict[int, int], momentum: dict[int, float], volume: tuple[int, ...]
) -> None:
    assert found(detect_synergies(table_with(gaps, momentum, volume))) == {}


def test_both_directions_on_one_bar_cancel() -> None:
    table = table_with({0: 1, 1: -1}, {0: 2.0, 1: -2.0}, (2,))
    assert found(detect_synergies(table)) == {}


def test_volume_ratio_must_exceed_one_and_a_half() -> None:
    table = table_with({0: 1}, {0: 2.0}, ())
    table.raw[QUIET, 6] = 1.5
    assert found(detect_synergies(table)) == {}
    table.raw[QUIET, 6] = 1.5001
    assert set(found(detect_synergies(table))) == {0, 1, 2}


def test_momentum_must_exceed_the_80th_percentile_of_100_bars() -> None:
    table = table_with({5: 1}, {}, (5,))
    window = slice(QUIET + 5 - 99, QUIET + 6)
    table.raw[window, 5] = np.arange(1, 101) / 100  # the 80th of 100 sorted values is 0.80
    for value, fires in ((0.80, False), (0.81, True)):
        table.raw[window, 5] = np.concatenate(
            [np.delete(np.arange(1, 101), round(value * 100) - 1) / 100, [value]]
        )
        table.raw[QUIET + 5 - 9 : QUIET + 5, 5] *= -1  # the nine bars before point down
        assert bool(detect_synergies(table).kind[QUIET + 5]) is fires


def test_no_momentum_signal_before_100_bars() -> None:
    def first(at: int) -> dict[int, tuple[int, int, float]]:
        return found(detect_synergies(table_with({at: 1}, {at: 2.0}, (at,))))

    assert first(-2) == {}
    assert set(first(-1)) == {-1, 0, 1}  # the 100th bar


def test_a_later_synergy_replaces_an_earlier_one() -> None:
    table = table_with({0: 1, 2: -1}, {0: 2.0, 2: -2.0}, (0, 2))
    track = found(detect_synergies(table))
    assert track[0][1] == track[1][1] == 1
    assert 2 not in track or track[2][1] != 0


def test_empty_history_and_empty_track() -> None:
    empty = compute_features(random_bars(np.random.default_rng(0), 3)[:0])
    assert len(detect_synergies(empty).kind) == 0
    none = SynergyTrack.none(4)
    assert none.kind.tolist() == none.direction.tolist() == none.confidence.tolist() == [0] * 4


def reference(table: FeatureTable) -> list[tuple[int, int, float]]:
    """Return (kind, direction, confidence) per bar from plain loops over the written rule."""
    out, force = [], (0, 0, 0.0, -99)
    was_complete = {1: False, -1: False}
    momentum = table.raw[:, 5].tolist()
    for t in range(len(table)):
        fired = []
        for sign in (1, -1):
            first: list[int | None] = [None, None, None]
            for j in range(max(0, t - 9), t + 1):
                strong = False
                if j >= 99:
                    ranked = sorted(abs(value) for value in momentum[j - 99 : j + 1])
                    strong = abs(momentum[j]) > ranked[79] and momentum[j] * sign > 0
                signals = (table.birth[j] == sign, strong, table.raw[j, 6] > 1.5)
                for k, signal in enumerate(signals):
                    if signal and first[k] is None:
                        first[k] = j
            completes = None not in first and not was_complete[sign]
            was_complete[sign] = None not in first
            if completes:
                gap, move, volume = (int(bar) for bar in first if bar is not None)
                start = min(gap, move, volume)
                kind = 2 if gap == move == start else 1 if gap == start else 3
                kind = 4 if start not in (gap, move) else kind
                fired.append((kind, sign, 1.0 - (t - start) / 10, t))
        if len(fired) == 1:
            force = fired[0]
        out.append(force[:3] if t - force[3] < 3 else (0, 0, 0.0))
    return out


@pytest.mark.slow
@given(walks(min_size=150, max_size=260))
def test_detector_agrees_with_plain_loops(bars: Bars) -> None:
    table = compute_features(bars)
    track = detect_synergies(table)
    expected = reference(table)
    assert list(zip(track.kind.tolist(), track.direction.tolist(), strict=True)) == [
        row[:2] for row in expected
    ]
    np.testing.assert_allclose(track.confidence, [row[2] for row in expected], atol=1e-12)


def streamed(bars: Bars) -> list[Synergy]:
    """Return the synergy at each bar as bars arrive one at a time."""
    features, synergies, out = FeatureStream(), SynergyStream(), []
    columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
    for row in zip(*(column.tolist() for column in columns), strict=True):
        synergies = SynergyStream.resumed(synergies.state())  # nothing else is remembered
        synergies.push(features.push(*row), features.birth)
        out.append(synergies.current())
    return out


def rows_of(track: SynergyTrack) -> list[Synergy]:
    columns = (track.kind.tolist(), track.direction.tolist(), track.confidence.tolist())
    return [Synergy(*row) for row in zip(*columns, strict=True)]


@pytest.mark.slow
@given(walks(min_size=1, max_size=400))
def test_bars_one_at_a_time_have_the_synergies_of_the_whole_history(bars: Bars) -> None:
    assert streamed(bars) == rows_of(detect_synergies(compute_features(bars)))


@pytest.mark.slow
def test_the_memory_of_a_stream_is_as_long_as_it_must_be() -> None:
    """With every kind in force, on more bars than a property test draws."""
    bars = random_bars(np.random.default_rng(4), 3_000)
    expected = rows_of(detect_synergies(compute_features(bars)))
    assert {synergy.kind for synergy in expected} == {0, 1, 2, 3, 4}
    assert streamed(bars) == expected
    assert SynergyStream().current() == NO_SYNERGY


def test_every_kind_occurs_on_random_bars() -> None:
    track = detect_synergies(compute_features(random_bars(np.random.default_rng(4), 6_000)))
    for kind in (1, 2, 3, 4):
        for direction in (1, -1):
            assert ((track.kind == kind) & (track.direction == direction)).any()
    assert ((track.direction == 0) == (track.kind == 0)).all()
    assert ((track.confidence > 0) == (track.kind > 0)).all()
    assert track.confidence.max() <= 1.0


def test_wrong_arrays_are_refused() -> None:
    table = compute_features(random_bars(np.random.default_rng(0), 120))

    def detected(raw: FloatArray, birth: NDArray[np.int8]) -> None:
        detect_synergies(FeatureTable(raw, table.atr, table.close, birth))

    assert_wrong_arrays_are_refused(detected, FeatureError, raw=table.raw, birth=table.birth)
