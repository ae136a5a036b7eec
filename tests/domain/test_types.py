from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from rllib_tactical.domain.types import AGENTS, FEATURE_NAMES, Bars, Instrument, Reason
from rllib_tactical.errors import ConfigError, DataError
from tests.domain.builders import bars_of


def test_bars_are_read_only_and_slices_keep_their_columns() -> None:
    bars = bars_of([(1, 4, 0.5, 2, 10), (2, 5, 1.5, 3, 20), (3, 6, 2.5, 4, 30)])
    part = bars[1:]
    assert len(part) == 2
    assert part.timestamp_s.tolist() == [300, 600]
    assert [part.open[0], part.high[0], part.low[0], part.close[0], part.volume[0]] == [
        2.0,
        5.0,
        1.5,
        3.0,
        20.0,
    ]
    with pytest.raises(ValueError, match="read-only"):
        bars.close[0] = 9.0


def test_bars_do_not_freeze_the_callers_array() -> None:
    close = np.ones(2)
    Bars(np.arange(2), close, close, close, close, close)
    close[0] = 2.0


@pytest.mark.parametrize("shape", [(3,), (2, 1)])
def test_bars_of_unequal_shape_are_refused(shape: tuple[int, ...]) -> None:
    good = np.ones(2)
    with pytest.raises(DataError, match="low must have shape"):
        Bars(np.arange(2), good, good, np.ones(shape), good, good)


def test_bars_that_are_not_one_dimensional_are_refused() -> None:
    square = np.ones((2, 2))
    with pytest.raises(DataError, match="timestamp_s must have shape"):
        Bars(square.astype(np.int64), square, square, square, square, square)


@pytest.mark.parametrize("name", ["tick_size", "point_value", "lot_step"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_instrument_scales_must_be_positive(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"instrument.{name} "):
        dataclasses.replace(Instrument(symbol="X", tick_size=1.0), **{name: value})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_commission_must_be_finite_and_may_be_a_rebate(value: float) -> None:
    with pytest.raises(ConfigError, match="commission_per_lot must be finite, found"):
        Instrument(symbol="X", tick_size=1.0, commission_per_lot=value)
    assert Instrument(symbol="X", tick_size=1.0, commission_per_lot=-0.1).commission_per_lot == -0.1


@pytest.mark.parametrize("name", ["half_spread_ticks", "slippage_ticks", "slippage_atr_share"])
@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
def test_instrument_costs_must_not_be_negative(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"instrument.{name} "):
        dataclasses.replace(Instrument(symbol="X", tick_size=1.0), **{name: value})


@pytest.mark.parametrize("name", ["base_quantity", "gap_proximity_points", "pnl_scale"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_instrument_optional_values_must_be_positive(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"instrument.{name} "):
        dataclasses.replace(Instrument(symbol="X", tick_size=1.0), **{name: value})


def test_instrument_needs_a_symbol_and_costs_may_be_zero() -> None:
    with pytest.raises(ConfigError, match="symbol"):
        Instrument(symbol="", tick_size=1.0)
    free = Instrument(symbol="X", tick_size=1.0, half_spread_ticks=0.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        free.symbol = "Y"  # type: ignore[misc]


def test_vocabulary_is_in_the_specified_order() -> None:
    assert AGENTS == ("fvg", "momentum", "entry")
    assert FEATURE_NAMES[2] == "fvg_nearest_level"
    assert len(FEATURE_NAMES) == 7
    assert Reason.ALREADY_POSITIONED.code == "already_positioned"
    assert Reason.RISK_LIMIT.code == "risk_limit"
