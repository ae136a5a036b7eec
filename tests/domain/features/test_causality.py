from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from rllib_tactical.domain.features import causality
from rllib_tactical.domain.features.causality import check_causality
from rllib_tactical.domain.features.table import FeatureTable, compute_features
from rllib_tactical.domain.types import Bars
from rllib_tactical.errors import FeatureError
from tests.domain.builders import random_bars

BARS = random_bars(np.random.default_rng(0), 5_000)


@pytest.mark.parametrize("length", [0, 1, 2, 59, 361, 5_000])
def test_the_product_passes(length: int) -> None:
    check_causality(BARS[:length])


@pytest.mark.parametrize("column", range(7))
def test_a_feature_that_looks_ahead_is_named(column: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def peeking(bars: Bars) -> FeatureTable:
        table = compute_features(bars)
        raw = table.raw.copy()
        raw[:-1, column] += 0.001 * bars.close[1:]
        return dataclasses.replace(table, raw=raw)

    monkeypatch.setattr(causality, "compute_features", peeking)
    with pytest.raises(FeatureError, match=f"{causality.COLUMNS[column]} at bar .* later bars"):
        check_causality(BARS)


def test_an_atr_that_looks_ahead_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def peeking(bars: Bars) -> FeatureTable:
        table = compute_features(bars)
        return dataclasses.replace(table, atr=np.full(len(bars), table.atr.mean()))

    monkeypatch.setattr(causality, "compute_features", peeking)
    with pytest.raises(FeatureError, match="atr_14 at bar"):
        check_causality(BARS[:1_000])
