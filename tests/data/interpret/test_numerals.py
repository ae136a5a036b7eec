from __future__ import annotations

import pytest

from rllib_tactical.data.interpret.numerals import numerals_of
from rllib_tactical.errors import UsageError


@pytest.mark.parametrize(
    ("cells", "decimal", "thousands"),
    [
        (["57.98", "1.5e3", "12"], ".", ""),
        (["57,98", "57,9", "58"], ",", ""),
        (["1.234,56", "57,98"], ",", "."),
        (["1,234.56", "1,234.50", "57.98"], ".", ","),
        (["1 234,56", "57,98"], ",", " "),
        (["1'234.56", "1'234.50"], ".", "'"),
        (["57.98", "57.99", "1,5"], ".", ""),  # a stray cell is an error of that cell
        (["57", "58", "1,5"], ".", ""),
        (["57.98", "57.99", "1,5", "1,6"], ".", ""),  # so are several beside points
    ],
)
def test_how_numbers_are_written(cells: list[str], decimal: str, thousands: str) -> None:
    style = numerals_of(cells, None, "bars.csv")
    assert (style.decimal, style.thousands) == (decimal, thousands)


def test_thousands_or_decimals_is_not_guessed() -> None:
    cells = ["1,234", "1,235", "1,236"]
    with pytest.raises(UsageError, match=r"bars.csv: numbers such as '1,234' may be thousands"):
        numerals_of(cells, None, "bars.csv")
    assert numerals_of(cells, ",", "bars.csv").decimal == ","
    assert numerals_of(cells, ".", "bars.csv").thousands == ","
