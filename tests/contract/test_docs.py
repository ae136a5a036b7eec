"""The documentation site is built without a warning, and its picture is of these sources."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

import pytest

from rllib_tactical.domain.simulation.history import MARKET_FEATURES
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.simulation.simulator import ACCOUNT_FEATURES
from serve.api.streams import json_schemas

pytest.importorskip("sphinx", reason="comes with the extra docs")


@contextmanager
def _docs_on_path(project_root: Path) -> Iterator[None]:
    sys.path.insert(0, str(project_root / "docs"))
    try:
        yield
    finally:
        sys.path.pop(0)


def _text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


SPHINX = ("-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html")


@pytest.fixture(scope="module")
def site(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, *SPHINX, project_root / "docs", folder],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(site: Path) -> None:
    training = (site / "reference/api/training.html").read_text()
    for name in ("train", "TrainingCallback", "TrainingRun", "TrainingEnd", "TrainingResult"):
        assert re.search(rf'id="rllib_tactical\.rl\.(\w+\.)*{name}"', training), name


@pytest.mark.slow
def test_pages_are_complete_without_a_network(site: Path) -> None:
    for page in site.rglob("*.html"):
        loaded = re.findall(
            r'<(?:script|link|img|iframe)[^>]*(?:src|href)="(http[^"]*)"', _text(page)
        )
        assert loaded == [], page.name


@pytest.mark.slow
def test_formulas_are_formulas_and_dollars_are_dollars(site: Path) -> None:
    assert _text(site / "reference/features.html").count('<span class="math">') > 20
    for page in [*site.glob("results/*.html"), *site.glob("howto/*.html")]:
        assert '<span class="math">' not in _text(page), (
            f"{page.name}: two dollar signs were read as a formula"
        )


@pytest.mark.slow
def test_options_keep_their_two_hyphens(site: Path) -> None:
    assert "\N{EN DASH}out" not in _text(site / "reference/cli.html")


@pytest.mark.slow
def test_every_page_of_the_python_reference_has_content(site: Path) -> None:
    pages = [page for page in site.glob("reference/api/*.html") if page.name != "index.html"]
    assert pages
    for page in pages:
        assert '<dt class="sig sig-object py"' in _text(page), page.name


def test_a_formula_that_the_converter_does_not_know_is_refused(project_root: Path) -> None:
    with _docs_on_path(project_root):
        from _ext.formulas import draw  # type: ignore[import-not-found,unused-ignore]
    assert draw(r"\frac{a}{b}", inline=True).startswith("<svg ")
    for latex in (r"\unknown{a}", r"a \\[4pt] b"):
        with pytest.raises(ValueError, match="must be LaTeX that latex2mathml knows"):
            draw(latex, inline=False)


def test_the_page_of_the_messages_has_every_message_and_field(project_root: Path) -> None:
    with _docs_on_path(project_root):
        from _ext.messages import tables  # type: ignore[import-not-found,unused-ignore]
    document = json_schemas()
    sections = "\n".join(tables(document)).split("### ")[1:]
    assert len(sections) == len(document["$defs"])
    for section in sections:
        schema = document["$defs"][section.splitlines()[0]]
        for field, value in schema.get("properties", {}).items():
            (row,) = re.findall(rf"^\| `{field}` \| (.+) \|$", section, re.MULTILINE)
            assert ("required" in row) == (field in schema.get("required", [])), row
            assert ("when left out" in row) == ("default" in value), row
    assert "| `event_id` | string, 1 to 256 characters | required |" in sections[0]


def test_a_line_that_is_no_arrow_is_refused(project_root: Path) -> None:
    with _docs_on_path(project_root):
        from _ext.messages import sequence  # type: ignore[import-not-found,unused-ignore]
    assert sequence(["a -> b: x < y", "b -> b: waits"]).count(">x &lt; y<") == 1
    with pytest.raises(ValueError, match="expected 'sender -> receiver: text', found 'a > b'"):
        sequence(["a > b"])


def test_every_decision_has_context_decision_and_consequences(project_root: Path) -> None:
    decisions = sorted(project_root.glob("docs/adr/0*.md"))
    assert decisions
    for number, page in enumerate(decisions, 1):
        headings = re.findall(r"^#+ .*", _text(page), re.MULTILINE)
        assert headings[0].startswith(f"# {number:04d}: ")
        assert headings[1:] == ["## Context", "## Decision", "## Consequences"], page.name


@pytest.mark.slow
def test_the_picture_of_the_architecture_shows_every_package(project_root: Path) -> None:
    with _docs_on_path(project_root):
        from _ext.layers import draw, packages  # type: ignore[import-not-found,unused-ignore]
    written = (project_root / "docs" / "_static" / "architecture.svg").read_text(encoding="utf-8")
    drawn = draw(project_root)
    for name in packages(project_root):
        assert f">{name}: " in drawn
        assert f">{name}: " in written, "run `make docs` and commit docs/_static/architecture.svg"


def test_the_page_of_the_environment_names_what_there_is(project_root: Path) -> None:
    page = _text(project_root / "docs/reference/environment.md")
    weights = {field.name for field in fields(RewardConfig)} - {"timing", "shared"}
    for name in (*ACCOUNT_FEATURES, *MARKET_FEATURES, *weights):
        shown = "synergy_type_1" if name.startswith("synergy_type_") else name
        assert f"`{shown}`" in page or f"`rewards.{shown}`" in page, name
    full, pnl_only = RewardConfig(), RewardConfig.pnl_only()
    rows = re.findall(r"^\| `(\w+)` \|.*\| ([-.\d]+) \| ([-.\d]+) \|$", page, re.MULTILINE)
    assert len(rows) == 7
    for name, first, second in rows:
        assert float(first) == getattr(full, name)
        assert float(second) == getattr(pnl_only, name)
