"""Every table of measurements says which commit, machine and command it is from.

A table counts as measured when a cell has a number with a unit of time, money, memory, rate or
percent, or when a heading names such a unit. Tables of settings, limits and rules have units too:
they are listed here by page and section, and a line that no longer names a table fails. Sentences
cannot be told apart so surely: those that say that something was measured or took some time need
the same line, or a link to the page of results that has it.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

UNIT = r"(?:ns|us|ms|s|min|minutes?|hours?|KB|MB|GB|KiB|MiB|GiB|%|(?:bars|requests|steps)/s)"
NUMBER = r"\d[\d,.]*"
AMOUNT = rf"(?:\$-?{NUMBER}|{NUMBER} ?{UNIT}(?![\w-]))"
MEASURED_CELL = re.compile(AMOUNT)
MEASURED_HEADING = re.compile(rf"(?:^|[\s,])(?:\$|{UNIT})$|a second$")
MEASURED_SENTENCE = re.compile(rf"\b(?:measured|took|medians|p50|p99)\b[^.]*{AMOUNT}")
SOURCE = re.compile(
    r"^Measured at `[0-9a-f]{7}`: [^.:]*\bcores?\b[^.:]*\bmemory\b[^.:]*\. Commands?\b(.*)$"
)
HEADING = re.compile(r"^(#+) (.*)$")

SETTINGS = {
    ("docs/howto/training.md", "Is it still learning?"): "the limit of a metric",
    ("docs/howto/instruments.md", "Fields"): "defaults of fields",
    ("docs/howto/cluster.md", "Settings of cluster.yaml"): "settings of cluster.yaml",
    ("docs/howto/service.md", "State: bars, fills, overrides"): "limits of waiting",
    ("docs/howto/service.md", "Health, metrics, logs"): "limits of components",
    ("docs/howto/service.md", "Errors"): "limits of requests",
    ("docs/howto/service.md", "Threats"): "limits of requests",
    ("docs/howto/experiment.md", "When there is a result"): "limits of a verdict",
    ("docs/runbooks/index.md", "Runbooks"): "how long an alert waits",
    ("docs/reference/features.md", "Features"): "formulas",
    ("docs/reference/data.md", "Findings"): "messages with the values of the cases",
    ("docs/reference/trading-rules.md", "From a decision to an order"): "risk limits",
    ("docs/explanation/evaluation.md", "Backtest"): "what built-in policies do",
    ("docs/explanation/evaluation.md", "How sure is it?"): "level of the intervals",
    ("docs/explanation/evaluation.md", "Self-tests"): "limits of the tests",
    ("README.md", "Requirements"): "what to have",
}


@dataclass
class Section:
    """A heading with the text up to the next heading, and the section it belongs to."""

    title: str
    level: int
    parent: Section | None
    paragraphs: list[list[str]] = field(default_factory=lambda: [[]])

    def has_source(self) -> bool:
        """Whether a paragraph names commit and machine, and it or the next one the command."""
        paragraphs = [lines for lines in self.paragraphs if lines]
        for lines, following in zip(paragraphs, [*paragraphs[1:], [""]], strict=False):
            found = SOURCE.match(" ".join(lines))
            if found and ("`" in found[1] or following[0].startswith("    ")):
                return True
        return self.parent is not None and self.parent.has_source()

    def tables(self) -> Iterator[list[str]]:
        return (lines for lines in self.paragraphs if lines and lines[0].startswith("|"))

    def sentences(self) -> Iterator[str]:
        for lines in self.paragraphs:
            if lines and not lines[0].startswith(("|", "    ", "```")):
                yield " ".join(lines)


def sections_of(text: str) -> list[Section]:
    sections = [Section("", 0, None)]
    fenced = False
    for line in text.splitlines():
        fenced ^= line.startswith("```")
        found = None if fenced else HEADING.match(line)
        if found:
            parent = sections[-1]
            while parent.level >= len(found[1]) and parent.parent is not None:
                parent = parent.parent
            sections.append(Section(found[2], len(found[1]), parent))
        elif line.strip():
            sections[-1].paragraphs[-1].append(line)
        else:
            sections[-1].paragraphs.append([])
    return sections


def is_measured(table: list[str]) -> bool:
    rows = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in table]
    heading, cells = rows[0], [cell for row in rows[2:] for cell in row]
    return any(map(MEASURED_HEADING.search, heading)) or any(map(MEASURED_CELL.search, cells))


def pages(root: Path) -> dict[str, list[Section]]:
    files = [root / "README.md", *sorted(root.glob("docs/**/*.md"))]
    return {
        file.relative_to(root).as_posix(): sections_of(file.read_text(encoding="utf-8"))
        for file in files
        if "_build" not in file.parts
    }


def test_every_table_of_measurements_says_where_it_is_from(project_root: Path) -> None:
    missing, settings = [], set()
    for page, sections in pages(project_root).items():
        for section in sections:
            for table in filter(is_measured, section.tables()):
                if (page, section.title) in SETTINGS:
                    settings.add((page, section.title))
                elif not section.has_source():
                    missing.append(f"{page}, {section.title!r}: {table[0]}")
    assert missing == []
    assert set(SETTINGS) - settings == set(), "these name no table with units any more"


def test_every_sentence_about_a_measurement_says_where_it_is_from(project_root: Path) -> None:
    missing = [
        f"{page}, {section.title!r}: {sentence}"
        for page, sections in pages(project_root).items()
        for section in sections
        for sentence in section.sentences()
        if MEASURED_SENTENCE.search(sentence)
        and not section.has_source()
        and "results/" not in sentence
    ]
    assert missing == []


def test_every_commit_named_is_one_of_this_history(project_root: Path) -> None:
    text = "\n".join(
        " ".join(lines)
        for sections in pages(project_root).values()
        for section in sections
        for lines in section.paragraphs
    )
    commits = set(re.findall(r"Measured at `([0-9a-f]{7})`", text))
    assert len(commits) > 5
    git = ("git", "-C", str(project_root))
    shallow = subprocess.run(
        [*git, "rev-parse", "--is-shallow-repository"], capture_output=True, text=True, check=False
    )
    if shallow.stdout.strip() != "false":
        pytest.skip("the history of this checkout is not complete")
    for commit in commits:
        known = subprocess.run([*git, "merge-base", "--is-ancestor", commit, "HEAD"], check=False)
        assert known.returncode == 0, commit


@pytest.mark.parametrize(
    ("text", "measured", "sourced"),
    [
        ("# A\n\n| what | ms |\n|---|---|\n| x | 3 |\n", True, False),
        ("# A\n\n| what | how much |\n|---|---|\n| x | **$-3 ± 1** |\n", True, False),
        ("# A\n\n| what | how much |\n|---|---|\n| x | 3 |\n", False, False),
        ("# A\n\n| what | when |\n|---|---|\n| x | 3 sessions |\n", False, False),
        (
            "# A\n\nMeasured at `0123abc`: AMD EPYC, 2 cores, memory 25. Command: `make demo`.\n"
            "\n## B\n\n| what | MiB |\n|---|---|\n| x | 3 |\n",
            True,
            True,
        ),
        (
            "# A\n\nMeasured at `0123abc`: 2 cores, memory not recorded. Command:\n\n"
            "| what | MiB |\n|---|---|\n| x | 3 |\n",
            True,
            False,
        ),
        (
            "# A\n\nMeasured at `0123abc`: AMD EPYC. Command: `make demo`.\n\n"
            "| what | MiB |\n|---|---|\n| x | 3 |\n",
            True,
            False,
        ),
        (
            "# A\n\n## B\n\nMeasured at `0123abc`: 2 cores, memory 25. Command:\n\n    make demo\n"
            "\n## C\n\n| what | MiB |\n|---|---|\n| x | 3 |\n",
            True,
            False,
        ),
    ],
)
def test_the_scan_finds_measurements_and_sources(text: str, measured: bool, sourced: bool) -> None:
    section = next(each for each in reversed(sections_of(text)) if any(each.tables()))
    assert is_measured(next(section.tables())) is measured
    assert section.has_source() is sourced


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial/index.md"])
def test_the_output_of_the_demo_says_where_it_is_from(project_root: Path, page: str) -> None:
    shown = [
        section
        for section in pages(project_root)[page]
        for lines in section.paragraphs
        if any(line.startswith("    Trained agents") for line in lines)
    ]
    assert len(shown) == 1
    assert shown[0].has_source()
