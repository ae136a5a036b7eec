"""Training as JSON lines in the run folder: a row per iteration, and one per validation."""

from __future__ import annotations

from rllib_tactical.rl.training.callbacks import Row, TrainingCallback, TrainingRun


class JsonLinesLogger(TrainingCallback):
    """Writes ``progress.jsonl`` and ``validation.jsonl``, from which reports are made."""

    def on_start(self, run: TrainingRun) -> None:
        """Drop the rows and rollouts of iterations that the run will repeat."""
        run.folder.drop_after(run.start)

    def on_validation(self, run: TrainingRun, validation: Row) -> None:
        """Add a line of validation."""
        run.folder.append_validation(validation)

    def on_iteration(self, run: TrainingRun, row: Row) -> None:
        """Add a line of metrics."""
        run.folder.append_progress(row)
