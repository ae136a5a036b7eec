"""Numbers as they are read in reports."""

from __future__ import annotations

from rllib_tactical.reporting.format import count_of, dollars, number, percent


def test_dollars_show_cents_only_where_they_matter() -> None:
    assert dollars(-1234.6) == "-$1,235"
    assert dollars(12.346) == "$12.35"
    assert dollars(-999.994) == "-$999.99"
    assert dollars(-0.001) == "$0.00"  # no minus before nothing


def test_what_is_not_known_is_a_dash() -> None:
    assert dollars(None) == percent(None) == number(None) == "-"


def test_shares_and_plain_numbers() -> None:
    assert percent(0.05125) == "5.1%"
    assert percent(-0.0002, 4) == "-0.0200%"
    assert number(12_345.0) == "12,345"
    assert number(1.239) == "1.24"
    assert number(1.239, 1) == "1.2"


def test_a_count_agrees_with_its_noun() -> None:
    assert [count_of(n, "day") for n in (0, 1, 1204)] == ["0 days", "1 day", "1,204 days"]
