"""What follows a training run from outside: loggers, reports and rules that end it.

A run notifies a list of callbacks, always in the order of the list. The product's own loggers are
members of that list, as are a user's:

    on_start        once, before anything is built
    on_validation   when the result of a validation is known
    on_iteration    after every iteration, before its checkpoint
    on_checkpoint   when a checkpoint is complete
    on_end          once, however the run ends
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rllib_tactical.artifacts.run_folder import RunFolder, StartPoint
from rllib_tactical.config.schema import TacticalConfig

Row = dict[str, Any]
"""Numbers by name; None where a metric is undefined."""


@dataclass(slots=True)
class TrainingRun:
    """A run as callbacks see it.

    ``folder`` holds run.json and the checkpoints. ``start``: where this process starts, at the
    beginning or at a checkpoint. ``max_seconds``: after which this call ends, None without a limit.
    """

    folder: RunFolder
    config: TacticalConfig
    start: StartPoint = field(default_factory=StartPoint)
    max_seconds: float | None = None
    stop_reason: str | None = None

    def stop(self, reason: str) -> None:
        """Ask the run to end; of several requests the first gives the reason.

        Asked for in ``on_validation`` or ``on_iteration``, the run ends with this iteration, a
        validation of it and a checkpoint; in ``on_checkpoint``, with that checkpoint as it is; in
        ``on_start``, after the first iteration. ``train(resume=True)`` trains on from there.
        """
        self.stop_reason = self.stop_reason or reason


@dataclass(frozen=True, slots=True)
class TrainingEnd:
    """How a run ended: ``reason`` in words, ``error`` what was raised, None for a regular end."""

    reason: str
    error: BaseException | None = None

    @property
    def status(self) -> Literal["finished", "interrupted", "failed"]:
        """Return ``interrupted`` for Ctrl-C and SIGTERM, ``failed`` for any other error."""
        if self.error is None:
            return "finished"
        return "interrupted" if isinstance(self.error, KeyboardInterrupt) else "failed"


class TrainingCallback:
    """Base of callbacks: override what is needed; nothing here does anything.

    What a callback raises ends the run, except in ``on_end``, where the other callbacks still get
    their turn first. Callbacks run in the driver, between iterations: training waits for them.
    """

    def on_start(self, run: TrainingRun) -> None:
        """Prepare for the rows of a run that starts at ``run.start``.

        A process that was killed may have written rows of later iterations, which the run goes
        through again. Whatever keeps rows beyond the process drops those after ``run.start`` here.
        """

    def on_validation(self, run: TrainingRun, validation: Row) -> None:
        """Take a validation: ``Validation.as_dict`` with the following keys.

        ``iteration`` and ``env_steps`` (account steps) of the weights that were validated;
        ``known_at``: the iteration after which the result was known, which may be a later one.
        """

    def on_iteration(self, run: TrainingRun, row: Row) -> None:
        """Take the metrics of an iteration, those of a validation that became known included.

        Comes before the checkpoint of the iteration. A callback that keeps rows has them safe when
        this returns, so that no kill loses a row that a checkpoint counts.
        """

    def on_checkpoint(self, run: TrainingRun, path: Path) -> None:
        """Take the folder of a complete checkpoint; on_iteration of its iteration came before."""

    def on_end(self, run: TrainingRun, end: TrainingEnd) -> None:
        """Release what is held. Called for every callback whose ``on_start`` returned."""


class CallbackList(TrainingCallback):
    """Callbacks notified as one, in order."""

    def __init__(self, callbacks: Sequence[TrainingCallback]) -> None:
        self._callbacks = tuple(callbacks)
        self._started: list[TrainingCallback] = []

    def on_start(self, run: TrainingRun) -> None:
        """Start each callback; one that fails keeps the later ones from starting."""
        for callback in self._callbacks:
            callback.on_start(run)
            self._started.append(callback)

    def on_validation(self, run: TrainingRun, validation: Row) -> None:
        """Notify each callback."""
        for callback in self._callbacks:
            callback.on_validation(run, validation)

    def on_iteration(self, run: TrainingRun, row: Row) -> None:
        """Notify each callback."""
        for callback in self._callbacks:
            callback.on_iteration(run, row)

    def on_checkpoint(self, run: TrainingRun, path: Path) -> None:
        """Notify each callback."""
        for callback in self._callbacks:
            callback.on_checkpoint(run, path)

    def on_end(self, run: TrainingRun, end: TrainingEnd) -> None:
        """End each callback that was started, then raise the first error of one, if any."""
        errors: list[Exception] = []
        while self._started:
            try:
                self._started.pop(0).on_end(run, end)
            except Exception as error:  # the others hold resources too
                errors.append(error)
        if errors:
            raise errors[0]


@contextmanager
def notified(run: TrainingRun, callbacks: CallbackList) -> Iterator[None]:
    """Call ``on_start`` before the block and ``on_end`` after it, whatever the block raises.

    ``run.stop_reason`` at the end is the reason that ``on_end`` is given.
    """
    error: BaseException | None = None
    try:
        callbacks.on_start(run)
        yield
    except BaseException as raised:
        error = raised
        raise
    finally:
        reason = run.stop_reason if error is None else str(error)
        callbacks.on_end(run, TrainingEnd(reason or type(error).__name__, error))
