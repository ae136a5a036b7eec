"""Run a command, but stop the process where it begins to write its n-th checkpoint.

python -m tests.rl.stop_at_save N COMMAND...

Whoever started it then kills it: rows are written before the checkpoint of their iteration, so that
those since the checkpoint before belong to none.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from rllib_tactical.artifacts.run_folder import RunFolder
from rllib_tactical.cli import main as cli


def stop_at_save(n: int) -> None:
    """Stop this process at the n-th call of ``RunFolder.save``, before it does anything."""
    save, calls = RunFolder.save, iter(range(1, n + 1))

    def save_or_stop(*arguments: Any) -> Any:
        if next(calls) == n:
            os.kill(os.getpid(), signal.SIGSTOP)
        return save(*arguments)

    RunFolder.save = save_or_stop  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    stop_at_save(int(sys.argv[1]))
    cli.run(sys.argv[2:])
