"""The profile of a bundle: what it is fitted on, and how it is written and read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rllib_tactical.errors import DataError, UnreadableError
from rllib_tactical.monitoring.observations import INPUTS, Observations
from rllib_tactical.monitoring.profile import DriftProfile, fit_profile, read_profile, write_profile
from rllib_tactical.monitoring.sums import GROUPS, INPUT
from tests.monitoring.series import BARS, autocorrelated, moved, part

SESSIONS = 32


@pytest.fixture(scope="module")
def series() -> Observations:
    return autocorrelated(np.random.default_rng(3), SESSIONS + 30)


@pytest.fixture(scope="module")
def profile(series: Observations) -> DriftProfile:
    return fitted(part(series, 0, SESSIONS))


def fitted(found: Observations, **others: Any) -> DriftProfile:
    return fit_profile(found, bundle_id="b" * 64, symbol="TEST", windows=(2, 5), **others)


def test_a_profile_has_thresholds_of_every_window_for_every_group(profile: DriftProfile) -> None:
    assert profile.sessions == dict.fromkeys(GROUPS, SESSIONS)
    for group in GROUPS:
        assert {each.window for each in profile.thresholds[group]} == {2, 5}, group
        assert all(np.isfinite(each.value) for each in profile.thresholds[group]), group
        assert 1.0 <= profile.blocks[group] <= SESSIONS, group
    assert len(profile.edges) == len(INPUTS)
    assert all((np.diff(cuts) > 0.0).all() for cuts in profile.edges)
    assert profile.reference == {}


@pytest.mark.slow
def test_inputs_are_of_the_reference_and_the_rest_of_the_outcomes(
    profile: DriftProfile, series: Observations
) -> None:
    later = moved(part(series, SESSIONS, SESSIONS + 30), mean=3.0)
    found = fitted(part(series, 0, SESSIONS), outcomes=later, described={"data": "bars.csv"})
    np.testing.assert_array_equal(found.totals[INPUT], profile.totals[INPUT])
    assert found.thresholds[INPUT] == profile.thresholds[INPUT]
    own = fitted(later)
    for group in set(GROUPS) - {INPUT}:
        assert found.sessions[group] == 30
        np.testing.assert_array_equal(found.totals[group], own.totals[group])
    assert found.reference == {"data": "bars.csv"}
    with pytest.raises(DataError, match="at least 30 sessions for behavior, found 29"):
        fitted(part(series, 0, SESSIONS), outcomes=part(series, 0, 29))


@pytest.mark.slow
def test_a_profile_is_the_same_for_the_same_seed_and_after_its_file(
    profile: DriftProfile, series: Observations, tmp_path: Path
) -> None:
    reference = part(series, 0, SESSIONS)
    assert len(reference.bar_session) == SESSIONS * BARS
    assert fitted(reference).to_dict() == profile.to_dict()
    assert fitted(reference, seed=9).to_dict() != profile.to_dict()
    write_profile(tmp_path / "profile.json", profile)
    assert read_profile(tmp_path / "profile.json").to_dict() == profile.to_dict()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "here: format must be 1, found 2"),
        ({"format": None}, "here: format must be 1, found None"),
        ({"windows": 5}, "here: not a profile of drift: TypeError"),
        ({"false_alarms": "rarely"}, "here: not a profile of drift: ValueError"),
        ({"totals": {}}, "here: not a profile of drift: KeyError"),
        (
            {"thresholds": {group: [["psi", 5]] for group in GROUPS}},
            "not a profile of drift: ValueError",
        ),
    ],
)
def test_what_is_no_profile_is_refused(
    profile: DriftProfile, change: dict[str, Any], message: str
) -> None:
    values = json.loads(json.dumps(profile.to_dict(), allow_nan=False))
    again = DriftProfile.from_dict(values, "here")
    assert again.to_dict() == profile.to_dict()
    with pytest.raises(UnreadableError, match=message):
        DriftProfile.from_dict(values | change, "here")
