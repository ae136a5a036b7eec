from __future__ import annotations

import io

import pytest

from rllib_tactical.runtime.progress import show_progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_a_line_every_few_seconds() -> None:
    log, now = io.StringIO(), 0.0
    with show_progress(log, lambda: now) as update:
        for step in range(24):
            now = step / 2
            update("reading a.csv", step / 24)
    assert log.getvalue() == "reading a.csv: 42%\nreading a.csv: 83%\n"


def test_a_terminal_gets_a_bar() -> None:
    terminal = Terminal()
    with show_progress(terminal) as update:
        update("reading [a].csv", 0.5)
    assert "reading [a].csv" in terminal.getvalue() and "50%" in terminal.getvalue()


def test_standard_error_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress(clock=iter([0.0, 9.0]).__next__) as update:
        update("reading", 1.0)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "reading: 100%\n")
