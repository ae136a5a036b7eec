"""Training in TensorBoard: an event per iteration with all numbers of its row."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from rllib_tactical.artifacts.run_folder import StartPoint
from rllib_tactical.rl.training.metrics import Row

PREFIX: Final = "tactical/"


class TensorBoardLog:
    """An event file in a folder. Every process that trains there adds a file of its own."""

    def __init__(self, folder: Path) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._file = EventFileWriter(str(folder))

    def drop_after(self, start: StartPoint) -> None:
        """Have readers drop what the files of earlier processes say of later steps.

        An event file is only ever appended to; a start with a step is TensorBoard's own mark for a
        run that goes back to it.
        """
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        begun = SessionLog(status=SessionLog.START)
        step = start.env_steps + 1
        self._file.add_event(Event(wall_time=time.time(), step=step, session_log=begun))
        self._file.flush()

    def write_row(self, row: Row) -> None:
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

    def close(self) -> None:
        """Close the file."""
        self._file.close()
