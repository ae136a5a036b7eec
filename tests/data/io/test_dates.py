from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from rllib_tactical.data.io.dates import (
    date_pattern,
    day_comes_first,
    fitting_patterns,
    is_iso,
    parse_dates,
)


def micros(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000_000)


@pytest.mark.parametrize(
    ("cell", "pattern", "utc", "naive"),
    [
        ("2019.05.01 18:20", "year first", "2019-05-01 18:20", True),
        ("2019/5/6, 13:30:00", "year first", "2019-05-06 13:30", True),
        ("20240102 093500", "compact", "2024-01-02 09:35", True),
        ("20240102", "compact", "2024-01-02 00:00", True),
        ("02.01.2024 00:15:00.500 GMT+0200", "day first", "2024-01-01 22:15:00.5", False),
        ("1/2/2024 9:30:00 PM", "month first", "2024-01-02 21:30", True),
        ("1/2/2024 12:05 AM", "month first", "2024-01-02 00:05", True),
        ("2024.01.02 9:30 Z", "year first", "2024-01-02 09:30", False),
        ("2024-01-02 09:30:00 -05:30", "year first", "2024-01-02 15:00", False),
    ],
)
def test_a_cell_alone_and_among_others(cell: str, pattern: str, utc: str, naive: bool) -> None:
    """Cells that are all written alike are cut, others are matched: both give the same."""
    kind = date_pattern(pattern)
    assert kind in fitting_patterns([cell])
    for cells in ([cell, cell], [cell, f"{cell} "]):
        found = parse_dates(pa.array(cells), kind)
        assert found.micros.tolist() == [micros(utc)] * 2
        assert found.naive.tolist() == [naive] * 2
        assert not found.bad.any()


@pytest.mark.parametrize(
    "cell", ["20240230 10:00", "20241301 10:00", "20240102 24:00", "20240102 10:60", "now", ""]
)
def test_what_is_no_date_is_bad(cell: str) -> None:
    found = parse_dates(pa.array(["20240102 10:00", cell]), date_pattern("compact"))
    assert found.bad.tolist() == [False, True]
    assert found.micros.tolist() == [micros("2024-01-02 10:00"), 0]


def test_zones_in_cells_are_named() -> None:
    cells = ["20230103 09:30:00 US/Eastern", "20230703 09:30:00 US/Eastern"]
    found = parse_dates(pa.array(cells), date_pattern("compact"))
    assert found.zones == {"US/Eastern"}
    assert found.naive.all()


def test_which_number_is_the_day() -> None:
    assert day_comes_first(["13/01/2024", "01/02/2024"]) is True
    assert day_comes_first(["01/13/2024"]) is False
    assert day_comes_first(["01/05/2024", "02/05/2024", "03/05/2024"]) is True
    assert day_comes_first(["05/01/2024", "05/02/2024", "05/03/2024"]) is False
    assert day_comes_first(["01/05/2024", "02/05/2024"]) is None
    assert day_comes_first(["01/05/2024"] * 9) is None
    assert day_comes_first(["01/05/2024", "02/05/2024", "02/06/2024", "03/06/2024"]) is None


def test_iso_needs_no_pattern() -> None:
    for cell in ("2024-01-02", "2024-01-02T09:30", "2024-01-02 09:30:00.000000000Z"):
        assert is_iso(cell)
    for cell in ("2024.01.02 09:30", "20240102", "09:30", "1704187800"):
        assert not is_iso(cell)
