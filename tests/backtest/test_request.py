from __future__ import annotations

import numpy as np
import pytest

from rllib_tactical.backtest.request import decision_range
from rllib_tactical.errors import DataError
from tests.market import random_bars


def test_the_range_starts_after_the_warm_up() -> None:
    bars = random_bars(600)
    time_s = bars.timestamp_s
    assert decision_range(bars, 359, None, None) == (359, 600)
    assert decision_range(bars, 359, int(time_s[100]), None) == (359, 600)
    assert decision_range(bars, 359, int(time_s[400]), int(time_s[500])) == (400, 500)
    assert decision_range(bars, 359, int(time_s[400]) - 1, int(time_s[500]) + 1) == (400, 501)
    with pytest.raises(DataError, match="1 bars of the range are left"):
        decision_range(bars, 359, int(time_s[599]), None)
    assert np.all(np.diff(time_s) == 300)
