"""docs/reference/data.md says what the program says.

Write the page's tables anew after a message has changed:

    TACTICAL_WRITE_DOCS=1 python -m pytest tests/data/test_data_page.py
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from rllib_tactical.data.instruments import list_instruments, load_instrument
from tests.data.corrupted import ALL_RULES, CONTENTS, TABLES, tables

MARK = "<!-- {0} -->\n\n{1}\n<!-- end of {0} -->"
NAMES = ("findings", "unreadable")


def test_the_messages_on_the_page_are_the_programs(tmp_path: Path, project_root: Path) -> None:
    page = project_root / "docs" / "reference" / "data.md"
    text = page.read_text(encoding="utf-8")
    for name, table in zip(NAMES, tables(tmp_path), strict=True):
        if os.environ.get("TACTICAL_WRITE_DOCS"):
            begin, end = MARK.format(name, "|").split("|")
            text = text[: text.index(begin)] + MARK.format(name, table) + text.split(end, 1)[1]
            page.write_text(text, encoding="utf-8")
        assert MARK.format(name, table) in text
        assert table.count("\n") == 2 + len(TABLES if name == "findings" else CONTENTS)


def test_every_rule_has_a_case() -> None:
    assert {rule for _, _, rule in TABLES.values()} == ALL_RULES


def test_the_instruments_on_the_page_exist(project_root: Path) -> None:
    text = (project_root / "docs" / "reference" / "data.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([A-Z]+)` \| `([^`]+)` \| `([^`]+)` \|", text, re.MULTILINE)
    assert sorted(row[0] for row in rows) == list_instruments()
    for name, calendar, zone in rows:
        instrument = load_instrument(name)
        assert (instrument.calendar, instrument.timezone) == (calendar, zone)
