"""What every run writes into its folder, and in which order."""

from rllib_tactical.rl.tracking.defaults import run_folder_callbacks
from rllib_tactical.rl.tracking.json_lines import JsonLinesLogger
from rllib_tactical.rl.tracking.report import HtmlReport
from rllib_tactical.rl.tracking.tensorboard import TensorBoardLogger
from rllib_tactical.rl.training.callbacks import TrainingCallback


class Other(TrainingCallback):
    """A user's."""


def test_rows_are_written_before_others_see_them_and_the_report_after_all():
    one, two = Other(), Other()
    found = run_folder_callbacks(one, two)
    assert [type(each) for each in found[:2]] == [JsonLinesLogger, TensorBoardLogger]
    assert found[2:4] == [one, two]
    assert isinstance(found[-1], HtmlReport)
    assert len(found) == 5
