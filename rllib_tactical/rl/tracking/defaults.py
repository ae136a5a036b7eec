"""The callbacks of every run, whoever started it."""

from __future__ import annotations

from rllib_tactical.rl.tracking.json_lines import JsonLinesLogger
from rllib_tactical.rl.tracking.report import HtmlReport
from rllib_tactical.rl.tracking.tensorboard import TensorBoardLogger
from rllib_tactical.rl.training.callbacks import TrainingCallback


def run_folder_callbacks(*others: TrainingCallback) -> list[TrainingCallback]:
    """Return what writes the run folder, with other loggers of rows before the report.

    The report is rendered from the rows in the folder, and what publishes the folder comes last.
    """
    return [JsonLinesLogger(), TensorBoardLogger(), *others, HtmlReport()]
