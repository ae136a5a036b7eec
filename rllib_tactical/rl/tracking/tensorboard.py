"""Training in TensorBoard: an event per iteration with all numbers of its row."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from rllib_tactical.rl.training.callbacks import Row, TrainingCallback, TrainingEnd, TrainingRun

PREFIX: Final = "tactical/"
_POLL_S: Final = 0.02


class TensorBoardLogger(TrainingCallback):
    """Writes event files into the run folder; every process adds a file of its own."""

    _file: Any

    def on_start(self, run: TrainingRun) -> None:
        """Make readers drop the later steps in the files of earlier processes.

        Event files are append-only; a START event with a step is how TensorBoard marks that a run
        was restarted from that step. Readers take the files in the order of their names, which have
        the second of their creation first: the name must have a later one than those of before.
        """
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        while any(_second_of(path) == int(time.time()) for path in _event_files(run.folder.path)):
            time.sleep(_POLL_S)
        self._file = EventFileWriter(str(run.folder.path))
        mark = SessionLog(status=SessionLog.START)
        step = run.start.env_steps + 1
        self._file.add_event(Event(wall_time=time.time(), step=step, session_log=mark))
        self._file.flush()

    def on_iteration(self, run: TrainingRun, row: Row) -> None:
        """Write the numbers of an iteration at its account steps."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [
            Summary.Value(tag=PREFIX + name, simple_value=value)
            for name, value in row.items()
            if isinstance(value, int | float)
        ]
        step = int(row["env_steps"])
        self._file.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))
        self._file.flush()

    def on_end(self, run: TrainingRun, end: TrainingEnd) -> None:
        """Close the file."""
        self._file.close()


def _event_files(folder: Path) -> Iterator[Path]:
    return folder.glob("events.out.tfevents.*")


def _second_of(path: Path) -> int | None:
    """Return the epoch second in an event file's name, None where another program named it."""
    second = path.name.split(".")[3]
    return int(second) if second.isdecimal() else None
