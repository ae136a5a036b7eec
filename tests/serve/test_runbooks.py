"""Commands of the runbooks are ours with options that they have; those on HTTP are answered."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import httpx
import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.cli.main import main
from tests.serve.http.test_listener import free_port
from tests.serve.process import replica_process
from tests.serve.writes import bars_body

FOLDER = Path(__file__).parents[2] / "docs" / "runbooks"
OTHERS = {"cp"}
"""Programs of the system in the runbooks."""

ANSWERS = {200, 409, 503}
"""Statuses of right commands: 409 and 503 say why it cannot be done now."""


def commands() -> Iterator[tuple[str, str]]:
    """Yield page and command: the lines of code of every page."""
    for page in sorted(FOLDER.glob("*.md")):
        for line in page.read_text(encoding="utf-8").splitlines():
            if re.match(r" {4,}\S", line):
                yield page.stem, line.strip()


def parsed(words: list[str]) -> click.Context:
    """Return the context that click makes of a command line, without running it."""
    command: click.Command = main
    context = command.make_context("tactical", list(words), resilient_parsing=False)
    while isinstance(context.command, click.Group):
        group, rest = context.command, [*context._protected_args, *context.args]
        name, chosen, rest = group.resolve_command(context, rest)
        assert chosen is not None
        context = chosen.make_context(name, rest, parent=context)
    return context


def test_there_are_commands_in_every_alerts_page() -> None:
    pages = {page for page, _ in commands()}
    assert pages == {page.stem for page in FOLDER.glob("*.md")} - {"index"}


@pytest.mark.parametrize(
    "command", sorted({command for _, command in commands() if not command.startswith("curl ")})
)
def test_our_commands_take_what_the_pages_give_them(command: str) -> None:
    program, *words = shlex.split(command)
    assert program in {"tactical", *OTHERS}
    if program == "tactical":
        context = parsed(words)
        assert context.command.callback is not None


def test_an_option_that_does_not_exist_is_found() -> None:
    with pytest.raises(click.UsageError, match="No such option"):
        parsed(["state", "show", "--where", "x"])


@pytest.mark.slow
def test_the_requests_of_the_pages_are_answered(bundle: Bundle, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    port, found = free_port(), 0
    service = {"live_bars": False, "max_bar_age_s": 1e6, "inference_timeout_ms": 2e4}
    with replica_process(bundle, tmp_path, port, **service) as (client, _):
        assert client.post("/bars", json=bars_body(0, 400)).status_code == 200
        for page, command in commands():
            if not command.startswith("curl "):
                continue
            text = command.replace("localhost:8001", f"127.0.0.1:{port}")
            more = "--noproxy '*' -w '\\n%{http_code}' "
            done = subprocess.run(
                ["sh", "-c", text.replace("curl ", f"curl {more}", 1)],
                env={"PATH": "/usr/bin:/bin", "TACTICAL_TOKEN": "", "TACTICAL_ADMIN_TOKEN": ""},
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            )
            body, _, status = done.stdout.rpartition("\n")
            assert int(status) in ANSWERS, f"{page}: {command}: {body}"
            found += 1
        assert client.get("/health").status_code == httpx.codes.OK
    assert found > 50
