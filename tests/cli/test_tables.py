from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.table import Table

from rllib_tactical.cli.tables import print_table

NUMBERS = ("-$1,234,567.89", "123,456,789", "0.0001234")


def printed(width: int) -> str:
    table = Table()
    table.add_column("policy")
    for name in ("net P&L", "trades", "slippage"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_row("always long with brackets", *NUMBERS)
    out = io.StringIO()
    print_table(table, Console(file=out, width=width))
    return out.getvalue()


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_no_number_and_no_word_is_cut(width: int) -> None:
    text = printed(width)
    for part in (*NUMBERS, "always", "brackets"):
        assert part in text


def test_words_wrap_where_the_console_is_narrow() -> None:
    assert "always long with brackets" in printed(200)
    assert "always long with brackets" not in printed(40)
