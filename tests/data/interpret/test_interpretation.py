"""The statement about files: what commands print, and what descriptions keep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rllib_tactical.data.interpret.interpretation import (
    INTERPRETATION,
    comparable_data,
    interpretation_of_data,
    interpretation_text,
    read_options_of,
    warning_notes,
)
from tests.data.interpret.plain_files import (
    read,
)


def test_the_statement_of_a_plain_file(bars_csv: Path) -> None:
    stated = read(bars_csv).interpretation
    assert stated.line("bars.csv") == (
        "bars.csv read as own columns; times UTC; stamped at the open (assumed); 468 5min bars "
        "2024-10-24 09:30-04:00 to 2024-11-04 15:55-05:00, 78 a session; warnings: missing_bars 1"
    )
    assert stated.to_dict()["options"] == {}


DATA: dict[str, Any] = {
    "source": "own columns",
    "files": 1,
    "options": {},
    "columns": {"timestamp": "Time", "open": "Open", "volume": "vol"},
    "zone": "UTC",
    "zone_from": "file",
    "unit": None,
    "stamp": "open",
    "stamp_from": "option",
    "symbol": None,
    "price_scale": 1.0,
    "step_seconds": 300,
    "bar_seconds": 300,
    "bars": 1_234,
    "first": "A",
    "last": "B",
    "bars_per_session": 78.0,
    "notes": [],
    "warnings": {},
}


def test_the_line_says_what_is_usual_in_few_words() -> None:
    assert interpretation_text(DATA, "a.csv") == (
        "a.csv read as own columns (timestamp=Time, volume=vol); times UTC; stamped at the open; "
        "1,234 5min bars A to B, 78 a session; no warnings"
    )


def test_the_line_says_all_that_is_unusual() -> None:
    found = DATA | {
        "source": "lean",
        "columns": {"open": "open"},
        "files": 3,
        "symbol": "SPY",
        "unit": "ms",
        "zone_from": "assumed",
        "price_scale": 1e-4,
        "step_seconds": 60,
        "notes": ["newest first"],
        "warnings": {"missing_bars": 2_000, "off_tick": 1},
    }
    assert interpretation_text(found, "spy") == (
        "spy read as lean; 3 files; symbol SPY; times in ms UTC (assumed); stamped at the open; "
        "prices x 0.0001; newest first; 1,234 5min bars made of 1min rows A to B, 78 a session; "
        "warnings: missing_bars 2,000, off_tick 1"
    )


def test_a_description_from_before_statements_says_that_there_is_none() -> None:
    assert interpretation_of_data({"name": "old.csv"}) == "old.csv: not recorded how it was read"
    named = {"name": "new.csv", INTERPRETATION: DATA}
    assert interpretation_of_data(named).startswith("new.csv read as own columns")


def test_warnings_are_a_note_of_a_report() -> None:
    warned = {"name": "a.csv", INTERPRETATION: DATA | {"warnings": {"off_tick": 1_000}}}
    assert warning_notes(warned) == ("a.csv: the check of the data warns: off_tick 1,000.",)
    assert warning_notes({"name": "a.csv", INTERPRETATION: DATA}) == ()
    assert warning_notes({"name": "old.csv"}) == ()


def test_descriptions_are_compared_by_the_files_and_what_the_user_said() -> None:
    old = {"name": "a.csv", "sha256": "ab"}
    new = old | {"size_from": {"kind": "instrument"}, INTERPRETATION: DATA}
    assert comparable_data(old) == comparable_data(new)
    said = old | {INTERPRETATION: DATA | {"options": {"tz": "UTC"}}}
    assert comparable_data(said) != comparable_data(new)
    assert read_options_of(said) == {"tz": "UTC"}
    assert read_options_of(old) == {}
