from __future__ import annotations

import pytest

from rllib_tactical.data.calendar.bar_length import bar_label, parse_bar_length
from rllib_tactical.errors import UsageError


def test_bar_lengths() -> None:
    spelled = {"5min": 300, "300": 300, "300s": 300, " 1H ": 3600, "5m": 300, "1d": 86_400}
    for text, seconds in spelled.items():
        assert parse_bar_length(text) == seconds
    assert [bar_label(s) for s in (30, 300, 3600, 5400, 86_400)] == [
        "30s",
        "5min",
        "1h",
        "90min",
        "1d",
    ]
    for text in ("", "0", "min", "5x", "-5min", "7min", "2d", "99999999"):
        with pytest.raises(UsageError, match="bar length"):
            parse_bar_length(text)
