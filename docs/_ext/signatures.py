"""Write signatures made from docstrings and type hints as a reader would write them."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes

# Sphinx writes NDArray[np.integer] in full, and an alias within a union by its internal form.
NAME = r"~?(?:\w+\.)*"
ARRAY = re.compile(rf"{NAME}ndarray\[tuple\[{NAME}Any, \.\.\.\], {NAME}dtype\[{NAME}(\w+)\]\]")
ALIAS = re.compile(r"TypeAliasForwardRef\('(\w+)'\)")


def shorten_types(*event: Any) -> tuple[str, ...]:
    """Write array types by their short names; signature and result are the last two arguments."""
    return tuple(text and ARRAY.sub(r"NDArray[\1]", ALIAS.sub(r"\1", text)) for text in event[-2:])


def use_dashes(app: Any, doctree: Any) -> None:
    """Write a dash between a parameter and its description; option names keep their hyphens."""
    for text in doctree.findall(nodes.Text):
        if text == " -- ":
            text.parent.replace(text, nodes.Text(" \N{EN DASH} "))


def setup(app: Any) -> dict[str, bool]:
    """Register the extension with Sphinx."""
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-signature", shorten_types)
    app.connect("doctree-read", use_dashes)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
