from __future__ import annotations

from rllib_tactical.backtest.report.tables import tone


def test_a_gain_is_green_only_where_it_is_an_edge() -> None:
    assert tone(-1.0, "edge") == "bad"
    assert tone(0.0, "nothing") == tone(0.0, None) == "open"
    assert tone(1.0, "edge") == "good"
    assert tone(1.0, "no_edge") == tone(1.0, "not_distinguishable") == tone(1.0, None) == "open"
