from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rllib_tactical.data.files import write_bars
from rllib_tactical.data.quality.rules import check_columns
from rllib_tactical.domain.features.table import compute_features
from rllib_tactical.domain.types import WINDOW, Bars
from rllib_tactical.errors import UsageError
from rllib_tactical.synthetic import MARKETS, SyntheticMarket, make_market, pay_probability
from tests.data.tables import read_columns

DAY = 288
COLUMNS = ("timestamp_s", "open", "high", "low", "close", "volume")


def assert_same_bars(left: Bars, right: Bars) -> None:
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name))


@pytest.fixture(scope="module")
def gap() -> SyntheticMarket:
    return make_market("gap", 3, 40 * DAY, 0.0)


@pytest.mark.parametrize("name", MARKETS)
def test_equal_arguments_give_equal_markets(name: str) -> None:
    first, again = (make_market(name, 5, 2000, 0.4) for _ in range(2))
    assert_same_bars(first.bars, again.bars)
    assert first.instrument == again.instrument
    assert np.any(make_market(name, 6, 2000, 0.4).bars.close != first.bars.close)


@pytest.mark.parametrize("name", MARKETS)
def test_the_first_bars_do_not_depend_on_the_number(name: str) -> None:
    long = make_market(name, 5, 5000, 0.2)
    for bars in (500, 501, 777, 2345):
        short = make_market(name, 5, bars, 0.2)
        assert_same_bars(short.bars, long.bars[:bars])
        count = len(short.signals.bar)
        np.testing.assert_array_equal(short.signals.bar, long.signals.bar[:count])
        np.testing.assert_array_equal(short.signals.paid, long.signals.paid[:count])


@pytest.mark.parametrize("name", MARKETS)
@pytest.mark.parametrize("difficulty", [0.0, 1.0])
def test_bars_are_valid(name: str, difficulty: float, tmp_path: Path) -> None:
    market = make_market(name, 8, 30 * DAY, difficulty)
    bars = market.bars
    assert np.all(bars.high >= np.maximum(bars.open, bars.close))
    assert np.all(bars.low <= np.minimum(bars.open, bars.close))
    assert np.all(bars.low > 0)
    assert np.all(bars.volume > 0)
    for prices in (bars.open, bars.high, bars.low, bars.close):
        np.testing.assert_array_equal(np.round(prices, 2), prices)
    assert 50 < bars.close.min() < bars.close.max() < 200
    atr = compute_features(bars).atr.mean()
    assert atr * (market.instrument.base_quantity or 0.0) == pytest.approx(100, rel=0.01)

    path = tmp_path / "market.parquet"
    write_bars(bars, path)
    report = check_columns(read_columns(path), instrument=market.instrument)
    assert report.errors == 0


def test_prices_stay_in_reach_for_years() -> None:
    close = make_market("gap", 1, 400_000, 0.0).bars.close
    assert 50 < close.min() < close.max() < 200


def test_the_matrix_shows_the_synthetic_touch(gap: SyntheticMarket) -> None:
    signals, table = gap.signals, gap.history().features
    bar, side = signals.bar[signals.family == 0], signals.side[signals.family == 0]
    later = bar >= WINDOW
    bar, side = bar[later], side[later]
    assert len(bar) > 200
    row = table.raw[bar]
    assert np.mean(row[:, 4] == 1) > 0.98
    assert np.mean(row[:, 3] >= 5) > 0.98
    assert np.mean(np.sign(table.close[bar] - row[:, 2]) == side) > 0.98
    # nearest already on the bar before
    before = table.raw[bar - 1]
    assert np.mean(np.sign(table.close[bar - 1] - before[:, 2]) == side) > 0.97
    # a synergy against the signal would keep training votes from passing the threshold
    assert np.mean(gap.history().synergy.direction[bar] == -side) < 0.02


def test_signals_pay_as_often_as_promised() -> None:
    for difficulty in (0.0, 1.0):
        signals = make_market("gap", 4, 200_000, difficulty).signals
        linked = signals.paid[signals.linked]
        error = 0.5 / np.sqrt(len(linked))
        assert np.mean(linked) == pytest.approx(pay_probability(difficulty), abs=4 * error)
        decoys = signals.paid[~signals.linked]
        assert np.mean(decoys) == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(len(decoys)))
    assert not make_market("noise", 4, 5000, 0.0).signals.linked.any()


def test_regimes_alternate() -> None:
    signals = make_market("regime", 2, 60 * DAY, 0.0).signals
    family = signals.family[signals.linked]
    assert 0.2 < np.mean(family) < 0.8
    assert np.mean(family[1:] == family[:-1]) > 0.8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("trend", 1, 1000, 0.0),
            "market must be one of gap, momentum, regime, noise, found 'trend'",
        ),
        (("gap", -1, 1000, 0.0), "seed must be an integer >= 0, found -1"),
        (("gap", 1, 300, 0.0), r"bars must be in 361\.\.2500000, found 300"),
        (("gap", 1, 3_000_000, 0.0), r"bars must be .* found 3000000"),
        (("gap", 1, 1000, 1.5), r"difficulty must be in \[0, 1\], found 1.5"),
        (("gap", 1, 1000, float("nan")), "difficulty must be .* found nan"),
    ],
)
def test_wrong_arguments(arguments: tuple[str, int, int, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_market(*arguments)
