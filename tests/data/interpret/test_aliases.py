from __future__ import annotations

import pytest

from rllib_tactical.data.interpret.aliases import ALIASES, base_volume, zone_of_column


def test_a_name_is_that_of_one_column_only() -> None:
    names = [name for names in ALIASES.values() for name in names]
    assert len(names) == len(set(names))
    assert all(name == name.lower().strip() for name in names)


@pytest.mark.parametrize(
    ("name", "zone"),
    [
        ("gmt time", "UTC"),
        ("timestamp_utc", "UTC"),
        ("time (eet)", "EET"),
        ("time", None),
        ("local time", None),
        ("time (local)", None),
    ],
)
def test_a_name_may_state_the_zone(name: str, zone: str | None) -> None:
    assert zone_of_column(name) == zone


def test_of_two_volumes_that_in_the_units_of_the_symbol_is_meant() -> None:
    names = ("unix", "close", "volume btc", "volume usdt")
    assert base_volume(names, "BTC/USDT") == 2
    assert base_volume(names, "USDTTRY") == 3
    assert base_volume(names, "ETH/EUR") is None
    assert base_volume(names, None) is None
    assert base_volume((*names, "volume bt"), "BTC/USDT") is None  # two would fit
