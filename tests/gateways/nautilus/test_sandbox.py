"""The example is in the documentation as it is tested."""

from __future__ import annotations

from pathlib import Path


def test_the_example_of_the_docs_names_what_the_module_has(project_root: Path) -> None:
    module = project_root / "rllib_tactical" / "gateways" / "nautilus" / "sandbox.py"
    page = (project_root / "docs" / "howto" / "go-live.md").read_text(encoding="utf-8")
    assert "def sandbox_node(" in module.read_text(encoding="utf-8")
    assert "from rllib_tactical.gateways.nautilus.sandbox import sandbox_node" in page
