"""No row, decision or fill knows a bar that has not closed yet."""

from __future__ import annotations

import csv
import gzip
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.votes import Votes
from rllib_tactical.domain.features.synergy import detect_synergies
from rllib_tactical.domain.features.table import InputViews, compute_features
from rllib_tactical.domain.simulation.history import build_history
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.simulation.simulator import Simulator
from rllib_tactical.domain.types import WINDOW, Bars
from tests.domain.builders import (
    FUTURE,
    bars_of,
    join,
    random_bars,
    random_sessions,
    seeds,
    tick_bars,
    walks,
)


def check_prefixes(bars: Bars, ends: list[int]) -> None:
    """Check that everything known of the first t bars is the same when more bars follow."""
    full = compute_features(bars)
    synergy = detect_synergies(full)
    for end in ends:
        part = compute_features(bars[:end])
        np.testing.assert_array_equal(part.raw, full.raw[:end])
        np.testing.assert_array_equal(part.atr, full.atr[:end])
        np.testing.assert_array_equal(part.birth, full.birth[:end])
        track = detect_synergies(part)
        for name in ("kind", "direction", "confidence"):
            np.testing.assert_array_equal(getattr(track, name), getattr(synergy, name)[:end])
        if end >= WINDOW:
            last = np.array([end - 1])
            np.testing.assert_array_equal(
                InputViews(part).gather(last), InputViews(full).gather(last)
            )


@settings(max_examples=25)
@given(tick_bars(min_size=1, max_size=75))
def test_every_prefix_of_short_histories(bars: Bars) -> None:
    check_prefixes(bars, list(range(len(bars) + 1)))


@settings(max_examples=20)
@given(walks(), st.data())
def test_random_prefixes_of_walks(bars: Bars, data: st.DataObject) -> None:
    ends = data.draw(st.lists(st.integers(0, len(bars)), min_size=3, max_size=8))
    check_prefixes(bars, ends)


@pytest.mark.realdata
def test_prefixes_of_real_bars(real_data: Path) -> None:
    (path,) = real_data.glob("TQQQ_5m*.csv.gz")
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = [tuple(map(float, row[1:])) for row in islice(csv.reader(file), 1, 4_001)]
    check_prefixes(bars_of(rows), [*range(0, 4_000, 97), 4_000])


@pytest.mark.slow
@settings(max_examples=10)
@given(seeds, st.integers(362, 420))
def test_another_future_changes_no_decision_fill_or_reward(seed: int, cut: int) -> None:
    """Two histories that part after bar ``cut`` give the same steps up to the fill on it."""
    rng = np.random.default_rng(seed)
    past, sessions = random_bars(rng, cut + 1), random_sessions(rng, 480)
    futures = [random_bars(rng, 480 - len(past), volatility=v) for v in (2.0, 20.0)]
    simulators = []
    for future in futures:
        history = build_history(join(past, future), sessions, FUTURE)
        simulators.append(Simulator(history, Rules(), RewardConfig(), 4))
    first = simulators[0].history.first_decision
    differs = False
    for simulator in simulators:
        simulator.reset(np.arange(4), np.full(4, first))
    for t in range(first, 479):
        votes = Votes(rng.choice([0, 0, 2], (4, 3)), np.full((4, 3), 0.95))
        votes.index[:, 2] = 1
        a, b = (simulator.step(votes) for simulator in simulators)
        if t + 1 <= cut:
            for name in ("entry_price", "exit_price", "trade_pnl", "equity_change", "rewards"):
                np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        if t <= cut:
            for name in ("action", "quantity", "stop", "target", "reason"):
                np.testing.assert_array_equal(getattr(a.decision, name), getattr(b.decision, name))
        else:
            differs = differs or bool((a.equity_change != b.equity_change).any())
    assert differs  # else the futures would not have been different
