"""Finished runs on disk: one JSON file each, named by market, seed, variant and key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from rllib_tactical.artifacts.atomic import atomic_write_text
from rllib_tactical.artifacts.json_file import read_object
from rllib_tactical.artifacts.output_folder import require_folder
from rllib_tactical.errors import UnreadableError
from rllib_tactical.study.experiments import Run
from rllib_tactical.study.run import FORMAT

KEY: Final = "[0-9a-f]" * 16
"""Pattern of the key that ends a file's name; the folder may hold other JSON files."""


class Store:
    """A folder of results; a result file is written in one step.

    Raises:
        UsageError: the folder's place is taken by a file.
    """

    def __init__(self, folder: Path) -> None:
        require_folder(folder, "--results")
        self.folder = folder

    def find(self, run: Run) -> dict[str, Any] | None:
        """Return a finished run's result, None when there is none.

        Raises:
            UnreadableError: its file is damaged or of another format.
        """
        # the same run may have been stored under the name of another question's variant
        path = next(
            iter(sorted(self.folder.glob(f"{run.market}-{run.seed}-*-{run.key}.json"))), None
        )
        return None if path is None else _read(path)

    def results(self) -> list[dict[str, Any]]:
        """Return every result of the folder.

        Raises:
            UnreadableError: a file is damaged or of another format.
        """
        return [_read(path) for path in sorted(self.folder.glob(f"*-*-*-{KEY}.json"))]

    def keep(self, run: Run, result: dict[str, Any]) -> None:
        """Write a finished run's result."""
        path = self.path(run)
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write_text(path, json.dumps(result, indent=1) + "\n")

    def path(self, run: Run) -> Path:
        """Return the path of a run's result."""
        words = "".join(c if c.isalnum() else "-" for c in run.variant.name)
        return self.folder / f"{run.market}-{run.seed}-{words}-{run.key}.json"


def _read(path: Path) -> dict[str, Any]:
    result = read_object(path)
    if result.get("format") != FORMAT:
        raise UnreadableError(f"{path}: not a result of the study in format {FORMAT}")
    return result
