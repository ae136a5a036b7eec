"""A plugin of coverage.py that saves what Ray's workers ran while they run.

Ray ends its workers without Python's exit functions, so that coverage.py would lose their data.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

from coverage import Coverage

SAVE_EVERY_S = 1.0


def coverage_init(registry: Any, options: dict[str, Any]) -> None:
    """Save the data of this process every second if it is a worker of Ray.

    coverage.py calls this in each process that it measures.
    """
    if any(Path(argument).name == "default_worker.py" for argument in sys.orig_argv):
        threading.Thread(target=_save_for_ever, name="coverage", daemon=True).start()


def _save_for_ever() -> None:
    while True:
        time.sleep(SAVE_EVERY_S)
        running = Coverage.current()
        if running is not None:
            running.save()
