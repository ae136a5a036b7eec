from __future__ import annotations

import pytest

from rllib_tactical.data.io.layout import Layout, Numerals


@pytest.mark.parametrize(
    ("decimal", "thousands", "plain"),
    [(".", "", True), (",", "", False), (".", ",", False), (",", ".", False)],
)
def test_only_points_without_thousands_are_read_as_they_are(
    decimal: str, thousands: str, plain: bool
) -> None:
    assert Numerals(decimal=decimal, thousands=thousands).plain is plain


def test_columns_are_called_as_the_file_calls_them() -> None:
    layout = Layout(
        names=("Date", "Time", "Last", "Vol"),
        required=("timestamp", "close", "volume"),
        positions={"date": 0, "time": 1, "close": 2},
        missing=("volume",),
    )
    assert layout.columns == {"date": "Date", "time": "Time", "close": "Last"}
