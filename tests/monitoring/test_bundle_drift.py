"""From a bundle and bars to a profile, which says which of the bars the bundle has not seen."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.data.dataset import Dataset, DataSource, load_dataset
from rllib_tactical.data.files import write_bars
from rllib_tactical.data.sizing import WarmUpBars
from rllib_tactical.errors import DataError
from rllib_tactical.monitoring.bundle_drift import (
    SEEN,
    UNSEEN,
    VALIDATED,
    bundle_profile,
    observe,
    sessions_after,
    training_end_s,
)
from rllib_tactical.monitoring.observations import DAY_S
from tests.backtest.conftest import bundle, history  # noqa: F401  (fixtures)
from tests.market import INSTRUMENT, random_bars
from tests.monitoring.series import BARS, autocorrelated

HOUR = 3_600
DAYS = 56
FIRST_DAY = 19_700


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Return 56 days of hourly bars, each a session; features are warm after the first 15."""
    bars = random_bars(DAYS * 24, seed=4)
    time = FIRST_DAY * DAY_S + HOUR * np.arange(len(bars))
    path = tmp_path_factory.mktemp("drift") / "hours.parquet"
    write_bars(dataclasses.replace(bars, timestamp_s=time), path)
    return load_dataset(DataSource(path, INSTRUMENT), HOUR).sized(WarmUpBars())


def trained_until(bundle: Bundle, **days: int) -> Bundle:  # noqa: F811
    """Return the bundle as if the named parts of its training had ended after so many days."""
    splits: dict[str, Any] = {}
    for name, day in days.items():
        last = (FIRST_DAY + day) * DAY_S - HOUR
        splits[name] = {"first": iso(FIRST_DAY * DAY_S), "last": iso(last)}
    training = {"data": {"sha256": "0" * 64, "splits": splits}}
    return dataclasses.replace(bundle, manifest={**bundle.manifest, "training": training})


def iso(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat()


def test_only_what_is_of_later_sessions_is_kept() -> None:
    found = autocorrelated(np.random.default_rng(1), 6)
    later = sessions_after(found, 3)
    assert set(later.bar_session) == set(later.decision_session) == {4, 5}
    assert set(later.trade_session) == {4, 5}
    np.testing.assert_array_equal(later.inputs, found.inputs[4 * BARS :])
    np.testing.assert_array_equal(later.votes, found.votes[4 * BARS :])
    np.testing.assert_array_equal(later.pnl, found.pnl[found.trade_session > 3])
    assert len(sessions_after(found, 5).bar_session) == 0


def test_the_end_of_the_training_is_that_of_its_last_part(
    bundle: Bundle,  # noqa: F811
) -> None:
    known = trained_until(bundle, train=20, validation=30)
    assert training_end_s(known) == (FIRST_DAY + 30) * DAY_S - HOUR
    assert training_end_s(bundle) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("days", "sessions", "note"),
    [
        ({"train": 18, "validation": 22}, DAYS - 22, UNSEEN),
        ({"train": 22, "validation": 40}, DAYS - 22, VALIDATED),
        ({"train": 30, "validation": 40}, DAYS - 15, SEEN),
        ({}, DAYS - 15, "bars that may be those of training"),
    ],
)
def test_outcomes_are_of_bars_that_the_bundle_has_not_seen_as_far_as_there_are_enough(
    bundle: Bundle,  # noqa: F811
    dataset: Dataset,
    days: dict[str, int],
    sessions: int,
    note: str,
) -> None:
    found = bundle_profile(trained_until(bundle, **days), dataset)
    assert found.reference["outcomes"] == note
    assert found.sessions["behavior"] == pytest.approx(sessions, abs=1)
    assert found.sessions["inputs"] == pytest.approx(DAYS - 15, abs=1)
    assert found.reference["data"] == "hours.parquet"
    assert found.symbol == "TEST"


def test_few_bars_are_refused(bundle: Bundle, dataset: Dataset) -> None:  # noqa: F811
    start = (FIRST_DAY + 30) * DAY_S
    assert set(observe(bundle, dataset, start, start + 2 * DAY_S).bar_session) == {
        FIRST_DAY + 30,
        FIRST_DAY + 31,
    }
    with pytest.raises(DataError, match="at least 2 are needed"):
        observe(bundle, dataset, start, start + HOUR)
    with pytest.raises(DataError, match="at least 30 sessions"):
        bundle_profile(bundle, dataset, start)
