"""Faults at an exact place, once each, in the worker processes of a Ray."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any, Final

LOG: Final = "TACTICAL_TEST_KILLED"
"""The environment variable that names the file with a line per fault that has happened."""

FAULTS: Final = ("before its first checkpoint", "after its first checkpoint")


def kill_twice() -> None:
    """Have this worker kill itself around a first checkpoint: before it, and the next time after.

    Before: the iteration's row is written, no checkpoint. After: the checkpoint is complete, and
    its result is not reported yet.
    """
    from rllib_tactical.artifacts.run_folder import RunFolder

    save, log = RunFolder.save, Path(os.environ[LOG])

    def happened() -> list[str]:
        return log.read_text(encoding="utf-8").splitlines() if log.is_file() else []

    def killed(fault: str) -> None:
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{fault}\n")
        os.kill(os.getpid(), signal.SIGKILL)

    def save_or_die(folder: RunFolder, *arguments: Any) -> Any:
        if not happened():
            killed(FAULTS[0])
        path = save(folder, *arguments)
        if len(happened()) == 1:
            killed(FAULTS[1])
        return path

    RunFolder.save = save_or_die  # type: ignore[method-assign, assignment]
