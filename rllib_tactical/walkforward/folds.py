"""Which bars train, which choose and which test: the folds of a walk-forward evaluation.

Every fold trains on all bars from the first to ``train_stop``, chooses checkpoint and temperature
scale on the bars up to ``validation_stop`` and is tested on those up to ``test_stop``. Between two
parts 360 bars are left out (300 for the features' warm-up, 60 for the window), so that no window
of one part reaches into the next; a position is flat at its session's end, so no trade does.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from rllib_tactical.config.training import TrainingConfig
from rllib_tactical.domain.simulation.history import EMBARGO_BARS
from rllib_tactical.domain.types import Bars
from rllib_tactical.errors import DataError, UsageError

FIRST_TEST_SHARE: Final = 0.5
"""Share of the bars before the first test part, unless dates say otherwise."""

VALIDATION_SHARE: Final = 0.15
"""Share of the bars before a test part that chooses checkpoint and temperature scale."""


@dataclass(frozen=True, slots=True)
class Fold:
    """One fold in bar numbers; each bound is one past the last bar of its part."""

    number: int
    train_stop: int
    validation_stop: int
    test_stop: int

    @property
    def test_start(self) -> int:
        """First decision bar of the test."""
        return self.validation_stop + EMBARGO_BARS

    def splits(self, length: int) -> tuple[float, float, float]:
        """Return training, validation and the rest as shares of a history of ``length`` bars."""
        train, validation = self.train_stop / length, self.validation_stop / length
        return train, validation - train, 1.0 - validation

    def training(self, base: TrainingConfig, length: int, seed: int) -> TrainingConfig:
        """Return the settings with which the fold is trained."""
        return dataclasses.replace(base, splits=self.splits(length), seed=seed)

    def describe(self, bars: Bars) -> dict[str, Any]:
        """Return the fold's parts as UTC times of their first and last bars."""
        parts = {
            "train": (0, self.train_stop),
            "validation": (self.train_stop + EMBARGO_BARS, self.validation_stop),
            "test": (self.test_start, self.test_stop),
        }
        return {"number": self.number} | {
            name: {"bars": stop - start, **_span(bars, start, stop)}
            for name, (start, stop) in parts.items()
        }


def walk_forward(length: int, folds: int) -> tuple[Fold, ...]:
    """Return folds whose tests, one after the other, cover the second half of a history.

    Args:
        length: bars of the history.
        folds: how many, at least 1.

    Raises:
        UsageError: fewer than one fold.
        DataError: a part of a fold would have no bar left after the embargo.
    """
    if folds < 1:
        raise UsageError(f"--folds must be at least 1, found {folds}")
    edges = np.round(np.linspace(FIRST_TEST_SHARE, 1.0, folds + 1) * length).astype(int).tolist()
    made = []
    for number in range(folds):
        before, after = edges[number], edges[number + 1]
        train_stop = before - round(VALIDATION_SHARE * before)
        made.append(Fold(number, train_stop, before, after))
    return _checked(tuple(made))


def fold_by_dates(bars: Bars, validation_from_s: int, test_from_s: int) -> tuple[Fold, ...]:
    """Return one fold whose validation and test begin at given UTC epoch seconds.

    Raises:
        UsageError: the validation does not begin before the test.
        DataError: a part would have no bar left after the embargo.
    """
    if validation_from_s >= test_from_s:
        raise UsageError("--validation-from must be before --test-from")
    begins = np.searchsorted(bars.timestamp_s, [validation_from_s, test_from_s]).tolist()
    return _checked((Fold(0, begins[0], begins[1], len(bars)),))


def _checked(folds: tuple[Fold, ...]) -> tuple[Fold, ...]:
    for fold in folds:
        parts = {
            "training": fold.train_stop,
            "validation": fold.validation_stop - fold.train_stop,
            "test": fold.test_stop - fold.validation_stop,
        }
        for name, count in parts.items():
            if count < EMBARGO_BARS + 2:  # one bar to decide on and one to fill on
                raise DataError(
                    f"fold {fold.number}: the {name} part needs at least {EMBARGO_BARS + 2} bars "
                    f"({EMBARGO_BARS} are embargoed), found {count}"
                )
    return folds


def _span(bars: Bars, start: int, stop: int) -> dict[str, str]:
    first, last = bars.timestamp_s[[start, stop - 1]].astype("datetime64[s]")
    return {"first": f"{first}Z", "last": f"{last}Z"}
