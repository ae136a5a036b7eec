"""The section "paper", with tiny sizes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from rllib_tactical.bench.paper import PaperSize, session_rate, week_rows
from rllib_tactical.bench.paper_week import WeekResult


@pytest.mark.slow
def test_the_rate_of_a_session_is_that_of_its_decisions(tmp_path: Path) -> None:
    found = session_rate(tmp_path, 450, 1)
    assert 10.0 < found.median < 100_000.0


def test_the_table_of_a_week_says_what_was_killed_and_what_differs() -> None:
    result = WeekResult(Counter(server=2), Counter(late=3), 284, 16, 1, 0.25, 2, 1)
    rows = week_rows(result)
    assert rows[0].name == "16 trades on 284 bars: rows that the backtest has otherwise"
    assert rows[1].name == "books of session, backtest, service apart (server 2)"
    assert rows[2].name == "trades more or less in the service (3 late)"
    assert [row.measurement.median for row in rows] == [1.0, 0.25, 2.0, 1.0]
    assert not any(row.met for row in rows)
    assert all(row.met for row in week_rows(WeekResult(apart=0.004)))


def test_the_week_is_as_long_as_the_requirement_has_it() -> None:
    assert (PaperSize().days, PaperSize().speed) == (7, 1_000.0)
