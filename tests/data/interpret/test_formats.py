"""Entries of the table of formats: which files fit them, and how they are documented."""

from __future__ import annotations

import pytest

from rllib_tactical.data.interpret.aliases import ALIASES
from rllib_tactical.data.interpret.formats import FORMATS, normalized

KRAKEN = ("1729517400", "67650.1", "67700.0", "67620.3", "67688.8", "0.0318", "7")


def test_a_file_without_header_fits_by_its_first_row() -> None:
    fitting = [name for name, entry in FORMATS.items() if entry.fits((), KRAKEN, False)]
    assert fitting == ["kraken"]
    assert not FORMATS["kraken"].fits((), KRAKEN[:-1], False)
    assert not FORMATS["kraken"].fits((), KRAKEN, True)  # its files have no header
    assert not FORMATS["mt5"].fits((), KRAKEN, False)  # its files have one


def test_a_file_with_a_header_fits_by_one_group_of_names() -> None:
    names = ("time", "open", "high", "low", "close", "tick_volume", "spread", "real_volume")
    assert FORMATS["mt5"].fits(names, KRAKEN, True)
    assert FORMATS["mt5"].fits((*names[::-1], "more"), (), True)
    assert not FORMATS["mt5"].fits(names[:-1], (), True)


@pytest.mark.parametrize(
    ("written", "name"),
    [("<DATE>", "date"), (' "Open  Time" ', "open time"), ("[Close]", "close"), ("ts", "ts")],
)
def test_names_are_compared_without_case_brackets_and_quotes(written: str, name: str) -> None:
    assert normalized(written) == name


def test_names_in_entries_are_normalized_and_of_known_columns() -> None:
    for entry in FORMATS.values():
        for names in (*entry.header, entry.names, *entry.columns.values()):
            assert all(name == normalized(name) for name in names)
        assert set(entry.columns) <= set(ALIASES)


def test_an_entry_is_described_by_what_a_user_must_know() -> None:
    row = FORMATS["ninjatrader"].describe()
    assert (row["format"], row["header"], row["zone"]) == ("ninjatrader", "none", "UTC")
    assert (row["stamp"], row["recognized"]) == ("close", "by --format")
    assert FORMATS["ib"].describe()["zone"] == "in the file, else the login's: --tz"
    assert FORMATS["databento"].describe()["recognized"] == "yes"
