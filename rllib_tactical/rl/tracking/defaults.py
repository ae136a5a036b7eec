"""The callbacks of every run, from `tactical train`, a sweep or Python."""

from __future__ import annotations

from rllib_tactical.rl.tracking.json_lines import JsonLinesLogger
from rllib_tactical.rl.tracking.report import HtmlReport
from rllib_tactical.rl.tracking.tensorboard import TensorBoardLogger
from rllib_tactical.rl.training.callbacks import TrainingCallback


def run_folder_callbacks(*others: TrainingCallback) -> list[TrainingCallback]:
    """Return the callbacks that write the run folder, with ``others`` before the report.

    The report is rendered from the rows in the folder, so it comes after all that write rows.
    """
    return [JsonLinesLogger(), TensorBoardLogger(), *others, HtmlReport()]
