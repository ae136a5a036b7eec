"""Draw the architecture from the sources: the layers of pyproject.toml and the imports found.

Each box is a package, in the order of the layer contract that the checks enforce; the number on it
is that of its modules. A line says that modules of the upper package import the lower one.
"""

from __future__ import annotations

import ast
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

# The picture is as narrow as its text allows, so that a phone does not shrink the text much.
WIDTH, BOX_WIDTH, BOX_HEIGHT, STEP, TOP = 470, 290, 26, 36, 8
LEFT = (WIDTH - BOX_WIDTH) // 2

PURPOSES = {
    "cli": "commands",
    "study": "learning experiments",
    "bench": "benchmarks",
    "sweep": "Ray Tune sweeps",
    "walkforward": "folds over time",
    "selftest": "tests of a bundle",
    "live": "paper broker, live sessions",
    "serve": "decision service",
    "rl": "MAPPO on RLlib",
    "envs": "environments",
    "backtest": "backtest and its report",
    "reporting": "pages and plots",
    "statistics": "significance",
    "bundle": "policy bundles, inference",
    "synthetic": "generated markets",
    "data": "files to market histories",
    "runtime": "processes, Ray cluster",
    "artifacts": "run folders, storage",
    "config": "settings",
    "domain": "features, decisions, fills",
    "errors": "error types",
}


def packages(root: Path) -> list[str]:
    """Return the packages from the highest layer to the lowest, without the entry points."""
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    layers = next(each["layers"] for each in contracts if each["id"] == "layers")
    names = [name.strip("() ") for layer in layers[1:] for name in layer.split("|")]
    return [name.removeprefix("rllib_tactical.") for name in names]


def package_of(module: str) -> str:
    """Return the package of a dotted module name as it stands in the picture."""
    parts = module.split(".")
    return parts[1] if parts[0] == "rllib_tactical" and len(parts) > 1 else parts[0]


def imports(root: Path) -> tuple[Counter[str], Counter[tuple[str, str]]]:
    """Return modules per package, and importing modules per pair of packages."""
    sizes: Counter[str] = Counter()
    edges: Counter[tuple[str, str]] = Counter()
    for top in ("rllib_tactical", "envs", "serve"):
        for file in (root / top).rglob("*.py"):
            own = package_of(".".join(file.relative_to(root).with_suffix("").parts))
            sizes[own] += 1
            found = set()
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.module is not None:
                    found.add(package_of(node.module))
            edges.update((own, other) for other in found if other != own)
    return sizes, edges


def draw(root: Path) -> str:
    """Return the picture as SVG."""
    names = packages(root)
    sizes, edges = imports(root)
    rows = {name: row for row, name in enumerate(names)}
    height = TOP * 2 + STEP * (len(names) - 1) + BOX_HEIGHT
    lines, boxes = [], []
    for (upper, lower), count in sorted(edges.items()):
        if upper not in rows or lower not in rows:
            continue
        first, last = rows[upper], rows[lower]
        right = first % 2 == 0
        x = LEFT + BOX_WIDTH if right else LEFT
        reach = min(116, 10 + 6 * (last - first)) * (1 if right else -1)
        y1, y2 = (TOP + STEP * row + BOX_HEIGHT / 2 for row in (first, last))
        lines.append(
            f'<path d="M{x} {y1} C{x + reach} {y1}, {x + reach} {y2}, {x} {y2}" '
            f'stroke-width="{min(4.0, 0.6 + 0.25 * count):.2f}"><title>{upper} imports {lower}: '
            f"{count} modules</title></path>"
        )
    for name, row in rows.items():
        y = TOP + STEP * row
        text = f"{name}: {PURPOSES.get(name, '')} ({sizes[name]})"
        boxes.append(
            f'<rect x="{LEFT}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="5"/>'
            f'<text x="{WIDTH // 2}" y="{y + 18}">{escape(text)}</text>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" role="img" font-family="system-ui, sans-serif" font-size="14">'
        "<title>Packages by layer, and which package imports which</title>"
        f'<g fill="none" stroke="#64748b" stroke-opacity="0.6">{"".join(lines)}</g>'
        '<g fill="#e0e7ff" stroke="#4338ca">'
        + "".join(box.split("<text")[0] for box in boxes)
        + '</g><g fill="#111827" text-anchor="middle">'
        + "".join("<text" + box.split("<text")[1] for box in boxes)
        + "</g></svg>\n"
    )


def write(app: Any) -> None:
    """Write the picture before the pages are read."""
    source = Path(app.srcdir)
    target = source / "_static" / "architecture.svg"
    picture = draw(source.parent)
    if not target.is_file() or target.read_text(encoding="utf-8") != picture:
        target.write_text(picture, encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Register the extension with Sphinx."""
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
