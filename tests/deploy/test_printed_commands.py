"""Every command of ours and of Ray that a page prints is one that the programs take."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from rllib_tactical.cli.main import main

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("docs/**/*.md")), ROOT / "README.md"]
TACTICAL = {"tactical", ".venv/bin/tactical"}
PROGRAMS: dict[str, tuple[str, ...]] = {
    "rllib_tactical": (),
    **{f"rllib_tactical.{name}": (name,) for name in ("train", "tune")},
    **{f"rllib_tactical/{name}.py": (name,) for name in ("train", "tune")},
}
"""Ours as modules and as scripts: the command that they are."""


def printed(page: Path, in_text: bool) -> Iterator[list[str]]:
    """Yield the commands in a page's code, or those in its text, in words."""
    text = re.sub(r" *\\\n\s*", " ", page.read_text(encoding="utf-8"))
    text = re.sub(r" \[(--[^\]\n]+)\]", r" \1", text)  # what may be left out is taken, too
    code = re.findall(r"^(?: {4,}|\$ )(\S.*)$", text, re.M)
    for block in re.findall(r"^```(?:console|text|bash|sh)?\n(.*?)^```", text, re.M | re.S):
        code += block.splitlines()
    for line in re.findall(r"`((?:ray|tactical) [^`\n]+)`", text) if in_text else code:
        try:
            words = [] if "`" in line else shlex.split(line, comments=True)
        except ValueError:
            continue  # a quotation over several lines: of another program
        part: list[str] = []
        for word in [*words, ";"]:
            if word in {"|", "&&", ";", "<", ">"}:
                yield part
                part = []
            else:
                part.append(word)


def commands(page: Path, in_text: bool) -> set[tuple[str, ...]]:
    """Return those of ours and of Ray, as their programs and their words."""
    found = set()
    for words in printed(page, in_text):
        while words and re.match(r"^[A-Z_]+=", words[0]):
            words = words[1:]
        if len(words) < 2:
            continue
        if words[0] == "ray" or words[0] in TACTICAL:
            found.add((Path(words[0]).name, *words[1:]))
        for place, word in enumerate(words):  # a program that Ray, or Python, is to run
            if word in PROGRAMS:
                found.add(("tactical", *PROGRAMS[word], *words[place + 1 :]))
    return {each for each in found if "..." not in each and "…" not in each}


def taken(words: tuple[str, ...]) -> None:
    """Have a program's own parser read a command, without running it."""
    from ray.scripts.scripts import cli

    program, *rest = words
    command: click.Command = main if program == "tactical" else cli
    context = command.make_context(program, list(rest))
    while isinstance(context.command, click.Group) and context.command.list_commands(context):
        group, more = context.command, [*context._protected_args, *context.args]
        if not more:
            return
        name, chosen, more = group.resolve_command(context, more)
        assert chosen is not None
        context = chosen.make_context(name, more, parent=context)


MENTIONED = (click.MissingParameter, click.BadOptionUsage, click.exceptions.NoArgsIsHelpError)
"""What the text leaves out where it names a command, or an option, alone."""

EVERY = {page.relative_to(ROOT).as_posix(): commands(page, in_text=False) for page in PAGES}
NAMED = {page.relative_to(ROOT).as_posix(): commands(page, in_text=True) for page in PAGES}


@pytest.mark.slow
def test_pages_print_what_the_programs_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:6379/0")  # a page names the bus once
    wrong = []
    for pages, whole in ((EVERY, True), (NAMED, False)):
        for page, found in pages.items():
            for words in sorted(found):
                try:
                    taken(words)
                except click.exceptions.Exit:
                    pass  # --help and --version
                except MENTIONED as error:
                    if whole:
                        wrong.append(f"{page}: {' '.join(words)}: {error.format_message()}")
                except click.ClickException as error:
                    wrong.append(f"{page}: {' '.join(words)}: {error.format_message()}")
    assert not wrong, "\n".join(wrong)


def test_the_pages_with_most_commands_are_read() -> None:
    for page, least in (("howto/cluster", 9), ("howto/job", 9), ("howto/sweeps", 8)):
        assert len(EVERY[f"docs/{page}.md"]) >= least, EVERY[f"docs/{page}.md"]
    assert sum(map(len, EVERY.values())) > 100


def test_an_option_or_a_command_that_there_is_not_is_found() -> None:
    for words in (("tactical", "tune", "--sweeps", "x"), ("ray", "job", "sent"), ("ray", "upp")):
        with pytest.raises(click.UsageError, match="No such"):
            taken(words)
