"""Tables on the console."""

from __future__ import annotations

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table


def print_table(table: Table, console: Console | None = None) -> None:
    """Print a table at least as wide as its longest words and numbers.

    A console that is narrower still breaks the lines, but nothing is cut.
    """
    console = console or Console()
    unbounded = console.options.update(max_width=10_000)
    needed = Measurement.get(console, unbounded, table).minimum
    Console(file=console.file, width=max(console.width, needed)).print(table)
