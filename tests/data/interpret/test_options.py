from __future__ import annotations

import pytest

from rllib_tactical.data.interpret.options import ReadOptions
from rllib_tactical.errors import UsageError


def test_columns_map_names_or_list_them() -> None:
    assert ReadOptions(columns="open=O, timestamp=My Time").column_names() == {
        "open": "O",
        "timestamp": "My Time",
    }
    listed = ReadOptions(columns="date,time,open,high,low,close,x,volume")
    assert listed.header_names()[:2] == ("date", "time")
    assert listed.column_names() == {}
    assert ReadOptions(tz="UTC", stamp="close").given() == {"tz": "UTC", "stamp": "close"}


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("columns", "open=", "--columns: found 'open=', expected NAME=COLUMN"),
        ("columns", "opening=O", "--columns: found 'opening=O'"),
        ("columns", "open=O,open=P", "--columns: found 'open=P'"),
        ("columns", "open,high,low", "--columns: found 'open,high,low', expected"),
        ("columns", "timestamp,open,open", "--columns: found"),
        ("tz", "Nowhere", "--tz: found 'Nowhere'"),
        ("price_scale", 0.0, "--price-scale must be finite and > 0, found 0.0"),
    ],
)
def test_values_that_an_option_cannot_have(option: str, value: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ReadOptions(**{option: value})  # type: ignore[arg-type]
