"""Draw formulas as SVG when the site is built, so that pages show them without network or fonts.

A browser's own MathML needs a mathematical font on the reader's machine: without one it does not
lower subscripts.
"""

from __future__ import annotations

import re
import warnings
from typing import Any
from xml.etree import ElementTree

from docutils import nodes

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # how it reads its font
    import ziamath

SIZE = 16.0
"""Font size in units of the drawing; the SVG is sized in multiples of the text's font size."""

# The converter passes on as text what it does not know: commands, and the space of a line break.
UNKNOWN = re.compile(r"\\[a-zA-Z]+")
BREAK_WITH_SPACE = re.compile(r"\\\\\[")


def draw(latex: str, *, inline: bool) -> str:
    """Return a formula as an ``svg`` element in the color of the text around it.

    Raises ValueError for LaTeX that the converter does not know.
    """
    ziamath.config.svg2 = False  # no glyphs by id: one page has many formulas
    ziamath.config.math.color = "currentColor"
    formula = ziamath.Latex(latex, size=SIZE, inline=inline)
    if UNKNOWN.search(formula.mathmlstr()) or BREAK_WITH_SPACE.search(latex):
        raise ValueError(f"a formula must be LaTeX that latex2mathml knows, found {latex!r}")
    svg = formula.svgxml()
    _, top, width, height = (float(number) for number in svg.get("viewBox", "").split())
    svg.set("width", f"{width / SIZE:.3f}em")
    svg.set("height", f"{height / SIZE:.3f}em")
    svg.set("style", f"vertical-align: {-(top + height) / SIZE:.3f}em")
    svg.set("role", "img")
    svg.set("aria-label", latex)
    return ElementTree.tostring(svg, encoding="unicode")


def visit_inline(translator: Any, node: nodes.math) -> None:
    """Write a formula within a sentence."""
    translator.body.append(f'<span class="math">{draw(node.astext(), inline=True)}</span>')
    raise nodes.SkipNode


def visit_block(translator: Any, node: nodes.math_block) -> None:
    """Write a formula on a line of its own; a narrow screen scrolls it."""
    translator.body.append(f'<div class="math">{draw(node.astext(), inline=False)}</div>\n')
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:
    """Register the renderer with Sphinx."""
    app.add_html_math_renderer("svg", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
