from __future__ import annotations

from pathlib import Path

from rllib_tactical.cli.options import FolderType


def test_options_keep_both_slashes_of_a_uri() -> None:
    kept = FolderType().convert("s3://bucket/run", None, None)
    assert kept == "s3://bucket/run"
    assert FolderType().convert("runs/a", None, None) == Path("runs/a")
