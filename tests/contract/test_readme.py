"""What the documentation names exists, and every YAML in the repository can be read."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import click
import pytest
import yaml

DOCUMENTS = ("README.md", "CONTRIBUTING.md", "docs/**/*.md")
CODE = re.compile(r"^```[^\n]*\n(.*?)^```|^ {4}([^\n]+)|`([^`\n]+)`", re.MULTILINE | re.DOTALL)
MAKE = re.compile(r"(?:^|[\s;&|$])(?<!data )make((?:[ \t]+[\w=./:$-]+)+)", re.MULTILINE)
TACTICAL = re.compile(
    r"(?:^|[\s;&|$/])(?:tactical|-m rllib_tactical)((?:[ \t]+[a-z][a-z-]*)+)(?=\s|$)"
    r"((?:[ \t]+(?:\\\n[ \t]*)?[^\s`#;&|]+)*)",
    re.MULTILINE,
)
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
NOT_SOURCES = {".git", ".venv", "runs", "out", "build", "dist"}


def _code(text: str) -> str:
    """Return the fenced, indented and inline code of a Markdown text, one after the other."""
    return "\n".join(
        fenced or indented or inline for fenced, indented, inline in CODE.findall(text)
    )


def _documents(root: Path) -> str:
    pages = (page for pattern in DOCUMENTS for page in sorted(root.glob(pattern)))
    return "\n".join(_code(page.read_text(encoding="utf-8")) for page in pages)


def _make_targets(root: Path) -> set[str]:
    lines = (root / "Makefile").read_text(encoding="utf-8").splitlines()
    found = (re.match(r"([a-z][\w-]*):(?!=)", line) for line in lines)
    return {match[1] for match in found if match}


def _named_targets(code: str) -> set[str]:
    words = (word for match in MAKE.findall(code) for word in match.split())
    return {word for word in words if re.fullmatch(r"[a-z][\w-]*", word)}


def _command_group() -> click.Group:
    main = importlib.import_module("rllib_tactical.cli.main").main
    assert isinstance(main, click.Group)
    return main


def _find(group: click.Group, words: list[str]) -> click.Command:
    """Follow the words down the command tree; stop at a command, whose words are arguments."""
    command: click.Command = group
    for word in words:
        if not isinstance(command, click.Group):
            break
        context = click.Context(command, info_name=command.name)
        child = command.get_command(context, word)
        assert child is not None, (
            f"the documentation names `tactical {' '.join(words)}`: no command {word!r}"
        )
        command = child
    return command


def _yaml_files(root: Path) -> list[Path]:
    files = [*root.rglob("*.yaml"), *root.rglob("*.yml")]
    return sorted(
        file
        for file in files
        if not NOT_SOURCES.intersection(file.relative_to(root).parts)
        and not any(part.startswith(".") for part in file.relative_to(root).parts[:-1])
    )


def test_every_make_target_named_exists(project_root: Path) -> None:
    named = _named_targets(_documents(project_root))
    assert {"demo", "test"} <= named
    assert named - _make_targets(project_root) == set()


def test_every_command_and_option_named_exists(project_root: Path) -> None:
    uses = TACTICAL.findall(_documents(project_root))
    assert uses, "README names no tactical command"
    for words, rest in uses:
        command = _find(_command_group(), words.split())
        known = {option for parameter in command.params for option in parameter.opts}
        known |= {option for parameter in command.params for option in parameter.secondary_opts}
        missing = set(OPTION.findall(rest)) - known - {"--help"}
        assert not missing, f"tactical{words} has no option {sorted(missing)}"


def test_every_yaml_parses(project_root: Path) -> None:
    for file in _yaml_files(project_root):
        with file.open(encoding="utf-8") as stream:
            documents = list(yaml.safe_load_all(stream))
        assert documents, f"{file.relative_to(project_root)} is empty"


@pytest.mark.parametrize(
    ("text", "targets", "commands"),
    [
        ("`make demo DATA=x.csv OUT=dir`", {"demo"}, []),
        ("```\nmake lint test\n```", {"lint", "test"}, []),
        ("we make do without code", set(), []),
        ("```sh\ntactical data check FILE --json\n```", set(), [("data check", ["--json"])]),
        ("`tactical train --data F \\\n --seed 1`", set(), []),
        (
            "```\ntactical train --data F \\\n    --seed 1\n```",
            set(),
            [("train", ["--data", "--seed"])],
        ),
        ("```\n.venv/bin/tactical serve\n```", set(), [("serve", [])]),
        (
            "text\n\n    tactical features bars.csv --out f.parquet",
            set(),
            [("features", ["--out"])],
        ),
        ("\n    make fmt  # then lint\n", {"fmt"}, []),
    ],
)
def test_the_scan_finds_what_is_named(
    text: str, targets: set[str], commands: list[tuple[str, list[str]]]
) -> None:
    code = _code(text)
    assert _named_targets(code) == targets
    found = [(words.strip(), OPTION.findall(rest)) for words, rest in TACTICAL.findall(code)]
    assert found == commands
