"""Write the messages of the bus from their types, and draw who sends what to whom.

``messages`` lists every stream and every message with its fields, from the same JSON Schema that
``tactical bus schema`` prints. ``sequence`` draws its content, a line for each arrow:

    strategy -> server: XADD synergies
    service -> service: decide
"""

from __future__ import annotations

import json
import re
from typing import Any, Final
from xml.sax.saxutils import escape

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList

from serve.api.streams import json_schemas

ARROW: Final = re.compile(r"^(?P<sender>\w[\w' ]*?) -> (?P<receiver>\w[\w' ]*?): (?P<text>.+)$")
BOUNDS: Final = {"exclusiveMinimum": "above {}", "minimum": "at least {}", "maximum": "at most {}"}
SIZES: Final = {"Length": "characters", "Items": "items"}
COLUMN, ROW, TOP, MARGIN = 200, 40, 44, 70


def kind(schema: dict[str, Any]) -> str:
    """Return what a value may be, in words, with links to messages."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(map(kind, schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    words = str(schema.get("type", "anything"))
    if "items" in schema:
        words = f"array of {kind(schema['items'])}"
    bounds = [text.format(f"{schema[key]:,g}") for key, text in BOUNDS.items() if key in schema]
    for of, unit in SIZES.items():
        if f"max{of}" in schema:
            bounds.append(f"{schema.get(f'min{of}', 0)} to {schema[f'max{of}']:,} {unit}")
    return ", ".join([words, *bounds])


def tables(document: dict[str, Any]) -> list[str]:
    """Return lines of Markdown: a section for each message, those of streams first."""
    of_streams = {
        stream["message"]["$ref"].rpartition("/")[2]: (name, stream)
        for name, stream in document["streams"].items()
    }
    lines: list[str] = []
    for name in sorted(document["$defs"], key=lambda name: name not in of_streams):
        schema = document["$defs"][name]
        lines += [f"### {name}", ""]
        if name in of_streams:
            stream, about = of_streams[name]
            fields = " and ".join(f"`{field}`" for field in about["fields"])
            lines += [f"Stream `{stream}`, {about['direction']}; fields of an entry: {fields}.", ""]
        about = " ".join(schema.get("description", "").split()).replace("``", "`")
        lines += [about, ""]
        if "properties" not in schema:
            lines += [kind(schema) + ".", ""]
            continue
        required = schema.get("required", [])
        lines += ["| field | value | |", "|---|---|---|"]
        for field, value in schema["properties"].items():
            left_out = "required" if field in required else ""
            if "default" in value:
                left_out = f"`{json.dumps(value['default'])}` when left out"
            lines.append(f"| `{field}` | {kind(value)} | {left_out} |")
        lines.append("")
    return lines


def sequence(lines: list[str]) -> str:
    """Return the drawing of the arrows as an ``svg`` element.

    Raises ValueError for a line that is no arrow.
    """
    arrows = []
    for line in lines:
        found = ARROW.match(line)
        if found is None:
            raise ValueError(f"expected 'sender -> receiver: text', found {line!r}")
        arrows.append((found["sender"], found["receiver"], found["text"]))
    names = list(dict.fromkeys(name for arrow in arrows for name in arrow[:2]))
    x = {name: MARGIN + COLUMN * i for i, name in enumerate(names)}
    width = 2 * MARGIN + COLUMN * (len(names) - 1) + 60
    height = TOP + ROW * len(arrows) + 20
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape("; ".join(lines))}" style="max-width: {width}px; width: 100%" '
        'font-family="sans-serif" font-size="13" fill="currentColor" stroke="none">'
    ]
    for name in names:
        out.append(
            f'<text x="{x[name]}" y="18" text-anchor="middle" font-weight="bold">'
            f"{escape(name)}</text>"
            f'<line x1="{x[name]}" y1="26" x2="{x[name]}" y2="{height - 6}" '
            'stroke="currentColor" stroke-opacity="0.35"/>'
        )
    for i, (sender, receiver, text) in enumerate(arrows):
        y, start, end = TOP + ROW * i + 16, x[sender], x[receiver]
        if start == end:
            out.append(
                f'<path d="M{start} {y - 14} h22 v12 h-22" fill="none" stroke="currentColor"/>'
                f'<text x="{start + 28}" y="{y - 4}">{escape(text)}</text>'
            )
            continue
        tip = 7 if end > start else -7
        out.append(
            f'<text x="{(start + end) / 2:g}" y="{y - 6}" text-anchor="middle">'
            f"{escape(text)}</text>"
            f'<line x1="{start}" y1="{y}" x2="{end}" y2="{y}" stroke="currentColor"/>'
            f'<path d="M{end} {y} l{-tip} -4 v8 z"/>'
        )
    return "\n".join([*out, "</svg>"])


class Messages(Directive):
    """``messages``: the messages of the bus."""

    def run(self) -> list[nodes.Node]:
        """Parse the tables where the directive stands."""
        found = nodes.Element()
        source = StringList(tables(json_schemas()), "messages of the bus")
        self.state.nested_parse(source, self.content_offset, found, match_titles=True)
        return list(found.children)


class Sequence(Directive):
    """``sequence``: arrows between those who send and receive, one a line."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Draw the content."""
        return [nodes.raw("", sequence(list(self.content)), format="html")]


def setup(app: Any) -> dict[str, bool]:
    """Register the directives with Sphinx."""
    app.add_directive("messages", Messages)
    app.add_directive("sequence", Sequence)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
