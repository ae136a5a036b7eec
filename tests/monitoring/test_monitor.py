"""The monitor on stable series, where it must stay silent, and on planted changes, where not."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from rllib_tactical.errors import DataError, UnreadableError, UsageError
from rllib_tactical.monitoring.monitor import DriftReport, assess
from rllib_tactical.monitoring.observations import Observations
from rllib_tactical.monitoring.profile import (
    FALSE_ALARMS,
    DriftProfile,
    fit_profile,
    read_profile,
    write_profile,
)
from rllib_tactical.monitoring.sums import GROUPS
from rllib_tactical.monitoring.thresholds import MONTH
from tests.monitoring.series import autocorrelated, moved, part

REFERENCE, LIVE = 60, 40


def profile_of(found: Observations) -> DriftProfile:
    return fit_profile(found, bundle_id="b" * 64, symbol="TEST")


@pytest.fixture(scope="module")
def series() -> Observations:
    return autocorrelated(np.random.default_rng(7), REFERENCE + LIVE)


@pytest.fixture(scope="module")
def profile(series: Observations) -> DriftProfile:
    return profile_of(part(series, 0, REFERENCE))


def month_has_alarm(report: DriftReport) -> bool:
    """Return whether any of the last 21 sessions, whose windows are all full, alarms."""
    return bool((np.nan_to_num(report.ratios[-MONTH:]) > 1.0).any())


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_stable_months_rarely_alarm_and_planted_changes_are_found() -> None:
    """200 stable series by the stated rate; on the first 20, four changes that are planted."""
    tried, planted = 200, 20
    false, found, delay = 0, Counter[str](), dict[str, list[int]]()
    for seed in range(tried):
        whole = autocorrelated(np.random.default_rng([11, seed]), REFERENCE + LIVE)
        profile, live = (
            profile_of(part(whole, 0, REFERENCE)),
            part(whole, REFERENCE, REFERENCE + LIVE),
        )
        false += month_has_alarm(assess(profile, live))
        if seed >= planted:
            continue
        changes = {
            "mean": moved(live, mean=0.75),
            "variance": moved(live, spread=2.5),
            "edge gone": autocorrelated(np.random.default_rng([12, seed]), LIVE, edge=-0.5),
            "costs doubled": autocorrelated(np.random.default_rng([13, seed]), LIVE, cost=2.0),
        }
        for name, changed in changes.items():
            report = assess(profile, changed)
            found[name] += report.first_alarm is not None
            if report.first_alarm is not None:
                first = int(np.searchsorted(report.session, report.first_alarm)) + 1
                delay.setdefault(name, []).append(first)
    print(f"false alarms: {false} of {tried} stable months, stated {FALSE_ALARMS:g}")
    for name in found:
        after = np.median(delay[name])
        print(f"{name}: found in {found[name]} of {planted}, after {after:g} sessions (median)")
    # a share of 0.1 in 200 has a standard error of 0.021
    assert false / tried <= FALSE_ALARMS + 2 * 0.021
    assert found["mean"] >= 0.8 * planted
    assert found["variance"] >= 0.8 * planted
    assert found["edge gone"] >= 0.8 * planted
    assert found["costs doubled"] == planted


def test_the_group_that_changed_alarms(profile: DriftProfile, series: Observations) -> None:
    live = part(series, REFERENCE, REFERENCE + LIVE)
    assert assess(profile, live).alarms == ()
    costly = autocorrelated(np.random.default_rng(1), LIVE, cost=3.0)
    report = assess(profile, costly)
    assert report.alarms[0].statistic == "slippage"
    assert "Drift: " in report.words and "slippage_" in report.words
    shifted = assess(profile, moved(live, mean=2.0))
    assert {alarm.group for alarm in shifted.alarms} == {"inputs"}
    assert shifted.first_alarm is not None
    assert shifted.first_alarm <= REFERENCE + 10


def test_readings_are_those_of_the_newest_session(
    profile: DriftProfile, series: Observations
) -> None:
    live = part(series, REFERENCE, REFERENCE + 30)
    report = assess(profile, live)
    assert len(report.session) == 30
    newest = [reading.ratio for reading in report.readings]
    np.testing.assert_array_equal(newest, report.ratios[-1])
    assert np.isnan(report.ratios[3]).all()  # no window is full
    shorter = assess(profile, part(series, REFERENCE, REFERENCE + 29))
    np.testing.assert_allclose(shorter.ratios, report.ratios[:29], rtol=1e-9, equal_nan=True)
    later = assess(profile, live, after=REFERENCE + 9)
    assert later.session[0] == REFERENCE + 10
    assert report.to_dict()["sessions"] == 30
    json.dumps(report.to_dict(), allow_nan=False)


def test_too_few_sessions_say_nothing(profile: DriftProfile, series: Observations) -> None:
    few = assess(profile, part(series, REFERENCE, REFERENCE + 2))
    assert all(reading.value is None for reading in few.readings)
    assert "0 of" in few.words
    none = assess(profile, part(series, 0, 0))
    assert none.words.startswith("No session has ended yet")
    assert none.to_dict()["first_session"] is None


def test_a_profile_stays_the_same_in_its_file(
    profile: DriftProfile, series: Observations, tmp_path: Path
) -> None:
    path = tmp_path / "profile.json"
    write_profile(path, profile)
    again = read_profile(path)
    assert again.to_dict() == profile.to_dict()
    live = part(series, REFERENCE, REFERENCE + LIVE)
    assert assess(again, live).to_dict() == assess(profile, live).to_dict()
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(UnreadableError, match="format must be 1, found 2"):
        read_profile(path)
    path.write_text('{"format": 1}')
    with pytest.raises(UnreadableError, match="not a profile of drift"):
        read_profile(path)


def test_outcomes_can_have_a_reference_of_their_own(series: Observations) -> None:
    whole, last = part(series, 0, REFERENCE), part(series, 20, REFERENCE)
    found = fit_profile(whole, bundle_id="b", symbol="T", outcomes=last)
    assert found.sessions == {"inputs": REFERENCE, "behavior": 40, "outcomes": 40}
    assert set(found.blocks) == set(GROUPS)


def test_what_a_profile_needs(series: Observations) -> None:
    short = part(series, 0, 29)
    with pytest.raises(DataError, match="at least 30 sessions for inputs, found 29"):
        profile_of(short)
    whole = part(series, 0, REFERENCE)
    for wrong in (0.0, 1.0):
        with pytest.raises(UsageError, match="false_alarms must be in"):
            fit_profile(whole, bundle_id="b", symbol="T", false_alarms=wrong)
    with pytest.raises(UsageError, match="windows must be"):
        fit_profile(whole, bundle_id="b", symbol="T", windows=())
