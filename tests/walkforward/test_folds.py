from __future__ import annotations

import numpy as np
import pytest

from rllib_tactical.config.training import TrainingConfig
from rllib_tactical.domain.simulation.history import EMBARGO_BARS, split_history
from rllib_tactical.errors import DataError, UsageError
from rllib_tactical.walkforward.folds import Fold, fold_by_dates, walk_forward
from tests.market import random_bars


def test_tests_follow_each_other_over_the_second_half() -> None:
    folds = walk_forward(20_000, 4)
    assert [(f.validation_stop, f.test_stop) for f in folds] == [
        (10_000, 12_500),
        (12_500, 15_000),
        (15_000, 17_500),
        (17_500, 20_000),
    ]
    assert [f.train_stop for f in folds] == [8_500, 10_625, 12_750, 14_875]


@pytest.mark.parametrize("fold", walk_forward(19_997, 5))
def test_nothing_of_the_test_is_near_what_was_trained_on(fold: Fold) -> None:
    """The splits that training makes of the shares are the fold's parts, an embargo apart."""
    train, validation, rest = split_history(19_997, fold.splits(19_997))
    assert (train.stop, validation.stop) == (fold.train_stop, fold.validation_stop)
    assert validation.start == train.stop + EMBARGO_BARS
    assert rest.start == fold.test_start == validation.stop + EMBARGO_BARS
    assert fold.test_stop <= rest.stop
    TrainingConfig(splits=fold.splits(19_997))  # sums to 1


def test_one_fold_by_dates() -> None:
    bars = random_bars(3_000)
    times = bars.timestamp_s
    (fold,) = fold_by_dates(bars, int(times[1_000]), int(times[2_000]) - 10)
    assert fold == Fold(0, 1_000, 2_000, 3_000)
    described = fold.describe(bars)
    assert described["train"]["bars"] == 1_000
    assert described["validation"]["first"] == f"{times[1_360].astype('datetime64[s]')}Z"
    assert described["test"]["last"] == f"{times[-1].astype('datetime64[s]')}Z"


@pytest.mark.parametrize(
    ("first", "second", "error", "words"),
    [
        (2_000, 1_000, UsageError, "--validation-from must be before --test-from"),
        (100, 2_000, DataError, "the training part needs at least 362 bars .* found 100"),
        (1_000, 1_200, DataError, "the validation part .* found 200"),
        (1_000, 2_900, DataError, "the test part .* found 100"),
    ],
)
def test_parts_that_are_too_short_are_refused(
    first: int, second: int, error: type[Exception], words: str
) -> None:
    bars = random_bars(3_000)
    times = np.concatenate([bars.timestamp_s, bars.timestamp_s[-1:] + 300])
    with pytest.raises(error, match=words):
        fold_by_dates(bars, int(times[first]), int(times[second]))


def test_folds_are_at_least_one_and_not_too_many() -> None:
    with pytest.raises(UsageError, match="--folds must be at least 1, found 0"):
        walk_forward(20_000, 0)
    with pytest.raises(DataError, match="the test part needs at least 362 bars"):
        walk_forward(8_000, 20)
