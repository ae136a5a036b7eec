"""The commands that a page of the documentation tells its reader to run."""

from __future__ import annotations

import re
from pathlib import Path


def commands_of(page: Path, heading: str) -> list[str]:
    """Return the indented lines of code under a heading, continued lines joined."""
    text = page.read_text(encoding="utf-8")
    (section,) = re.findall(
        rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL
    )
    code = "\n".join(re.findall(r"^ {4}(.+)$", section, re.MULTILINE))
    return [line.strip() for line in code.replace("\\\n", " ").splitlines()]
