"""Progress of long work on standard error, so that standard output stays for results."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES: Final = 5.0

Update = Callable[[str, float], None]
"""Says what is being done and which share of the whole, 0..1, is done."""


@contextmanager
def show_progress(
    stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
) -> Iterator[Update]:
    """Yield a function that shows progress: a bar on a terminal, else a line every few seconds.

    Work that takes less than a few seconds leaves no trace, neither on a terminal nor in a log.
    """
    stream = sys.stderr if stream is None else stream
    if not stream.isatty():
        yield _lines(stream, clock)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=stream), transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda what, share: bar.update(task, description=what, completed=share)


def _lines(stream: TextIO, clock: Callable[[], float]) -> Update:
    last = clock()

    def update(what: str, share: float) -> None:
        nonlocal last
        now = clock()
        if now - last >= SECONDS_BETWEEN_LINES:
            last = now
            stream.write(f"{what}: {share:.0%}\n")
            stream.flush()

    return update
