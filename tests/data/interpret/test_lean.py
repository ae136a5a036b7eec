from __future__ import annotations

from pathlib import Path

import pytest

from rllib_tactical.data.interpret.lean import lean_day, lean_scale
from rllib_tactical.errors import UsageError


@pytest.mark.parametrize("name", ["20241021_trade.zip", "20241021_spy_minute_trade.csv"])
def test_the_day_is_at_the_head_of_the_name(name: str) -> None:
    assert lean_day(Path(name)) == 1_729_468_800_000_000  # 2024-10-21 00:00 UTC


@pytest.mark.parametrize(
    ("name", "said"), [("spy.csv", "does not begin with its day"), ("20241021_quote.zip", "quotes")]
)
def test_other_names_are_refused(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        lean_day(Path(name))


def test_the_folder_says_how_prices_are_scaled() -> None:
    assert lean_scale(Path("/data/Equity/usa/minute/spy/20241021_trade.zip")) == 1e-4
    assert lean_scale(Path("/data/crypto/gdax/minute/btcusd/20241021_trade.zip")) == 1.0
    with pytest.raises(UsageError, match=r"--price-scale 0\.0001"):
        lean_scale(Path("/data/20241021_trade.zip"))
