from __future__ import annotations

import numpy as np

from rllib_tactical.backtest.comparison import Comparison
from rllib_tactical.backtest.report.charts import candle_plot
from rllib_tactical.domain.features.fvg import gap_zones


def test_gaps_on_the_candles_are_those_of_the_features(comparison: Comparison) -> None:
    """On every bar there is a zone of a kind exactly where the features say that one is active."""
    result = comparison.policy.result
    first, last = 700, 1_900
    history = result.history
    zones = gap_zones(history.bars, history.features.birth, first, last)
    active = np.zeros((last + 1, 2))
    for gap in zones:
        active[gap.born : gap.last + 1, 0 if gap.bullish else 1] = 1.0
        assert gap.low < gap.high
    raw = result.history.features.raw[: last + 1, :2]
    np.testing.assert_array_equal(active[first:], raw[first:])
    plot, _ = candle_plot(result)
    assert plot["layout"]["shapes"]


def test_candles_count_bars_so_that_nights_take_no_room(comparison: Comparison) -> None:
    plot, span = candle_plot(comparison.policy.result)
    x = plot["data"][0]["x"]
    assert np.diff(x).tolist() == [1] * (len(x) - 1)
    assert "trades" in span
    entries = [*plot["data"][3]["x"], *plot["data"][4]["x"]]
    trades = comparison.policy.result.trades
    inside = (trades["exit_bar"] >= x[0]) & (trades["entry_bar"] <= x[-1])
    assert sorted(entries) == sorted(trades["entry_bar"][inside])
