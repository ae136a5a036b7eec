from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from rllib_tactical.data.sizing import (
    BundleSize,
    SizeFrom,
    TrainingBars,
    WarmUpBars,
    resolve_size,
    size_text,
)
from rllib_tactical.domain.simulation.history import MarketHistory, build_history
from rllib_tactical.domain.types import Bars
from rllib_tactical.errors import OrderError
from tests.market import INSTRUMENT, random_bars, sessions_of_length

UNSIZED = dataclasses.replace(INSTRUMENT, base_quantity=None, lot_step=0.001)
BARS = random_bars(1_000, seed=3)
ORIGIN = {"kind": "training_bars", "bars": 12, "first": "a", "last": "b"}
BUNDLE = BundleSize(7.0, "ab" * 32, ORIGIN)


def history_of(bars: Bars = BARS) -> MarketHistory:
    return build_history(bars, sessions_of_length(len(bars)), UNSIZED)


def with_atr(atr: np.ndarray) -> MarketHistory:
    history = history_of()
    features = dataclasses.replace(history.features, atr=atr)
    return dataclasses.replace(history, features=features)


def test_bars_before_the_first_decision_size_one_mean_atr_at_100_dollars() -> None:
    atr = np.full(1_000, 99.0)
    atr[:359] = np.linspace(1.0, 3.0, 359)
    sized, origin = resolve_size(with_atr(atr), WarmUpBars())
    assert sized == dataclasses.replace(UNSIZED, base_quantity=50.0 / UNSIZED.point_value)
    time = BARS.timestamp_s.astype("datetime64[s]")
    assert origin == {
        "kind": "warm_up_bars",
        "bars": 359,
        "first": f"{time[0]}Z",
        "last": f"{time[358]}Z",
    }


def test_training_bars_size_from_the_first_decision_on() -> None:
    atr = np.full(1_000, 99.0)
    atr[359:700] = 4.0
    sized, origin = resolve_size(with_atr(atr), TrainingBars(700))
    assert sized.base_quantity == 25.0 / UNSIZED.point_value
    time = BARS.timestamp_s.astype("datetime64[s]")
    assert origin == {
        "kind": "training_bars",
        "bars": 341,
        "first": f"{time[359]}Z",
        "last": f"{time[699]}Z",
    }


@pytest.mark.parametrize(("size_from", "stop"), [(WarmUpBars(), 359), (TrainingBars(700), 700)])
def test_no_later_bar_changes_a_size(size_from: SizeFrom, stop: int) -> None:
    columns = {
        name: getattr(BARS, name).copy() for name in ("open", "high", "low", "close", "volume")
    }
    for name in ("open", "high", "low", "close"):
        columns[name][stop:] *= 3.0
    later = history_of(Bars(BARS.timestamp_s, **columns))
    assert resolve_size(later, size_from) == resolve_size(history_of(), size_from)


@pytest.mark.parametrize("size_from", [WarmUpBars(), TrainingBars(700), BUNDLE])
def test_a_base_quantity_of_the_instrument_counts_first(size_from: SizeFrom) -> None:
    own = dataclasses.replace(history_of(), instrument=INSTRUMENT)
    sized, origin = resolve_size(own, size_from)
    assert sized is INSTRUMENT
    assert origin == {"kind": "instrument"}


def test_a_bundle_sizes_and_says_what_it_knows() -> None:
    expected = {"kind": "bundle", "bundle_id": "ab" * 32, "size_from": ORIGIN}
    sized, origin = resolve_size(history_of(), BUNDLE)
    assert sized == dataclasses.replace(UNSIZED, base_quantity=7.0)
    assert origin == expected
    # the bundle's own instrument comes with the size
    again, origin = resolve_size(dataclasses.replace(history_of(), instrument=sized), BUNDLE)
    assert again == sized
    assert origin == expected
    _, origin = resolve_size(history_of(), dataclasses.replace(BUNDLE, size_from=None))
    assert origin["size_from"] is None


def test_bars_that_do_not_move_cannot_size() -> None:
    with pytest.raises(OrderError, match="needs a mean ATR > 0, found 0"):
        resolve_size(with_atr(np.zeros(1_000)), WarmUpBars())


def test_texts_say_how_much_and_from_where() -> None:
    assert size_text(1_024.0, {"kind": "instrument"}) == "1,024 lots, given by the instrument"
    assert size_text(0.529, ORIGIN) == (
        "0.529 lots, from the 12 training bars, a to b (one mean ATR is about $100)"
    )
    warm = ORIGIN | {"kind": "warm_up_bars", "bars": 359}
    assert "from the 359 bars before the first decision, a to b" in size_text(503.0, warm)
    bundle = {"kind": "bundle", "bundle_id": "ab" * 32, "size_from": ORIGIN}
    assert size_text(7.0, bundle).startswith(
        "7 lots, of bundle abababababab, from the 12 training bars"
    )
    # made before the origin was recorded
    unknown = "from unknown bars (not recorded)"
    assert size_text(7.0, None) == f"7 lots, {unknown}"
    assert size_text(7.0, bundle | {"size_from": None}).endswith(f"abababababab, {unknown}")
    assert size_text(None, None) == f"no lots, {unknown}"
