"""The report of drift as rows of a table, as a plot and as an HTML page."""

from __future__ import annotations

import numpy as np
import pytest

from rllib_tactical.monitoring.monitor import DriftReport, Reading
from rllib_tactical.monitoring.page import drift_plot, render_drift, table_rows
from rllib_tactical.monitoring.profile import DriftProfile, fit_profile
from tests.monitoring.series import autocorrelated

READINGS = (
    Reading("inputs", "psi_volume", 5, 0.5, 1.0, 0.5),
    Reading("outcomes", "slippage", 20, 3.0, 2.0, 1.5),
    Reading("inputs", "psi_momentum", 5, None, 1.0, 0.0),
)


def report(
    sessions: int, readings: tuple[Reading, ...] = READINGS, symbol: str = "TEST"
) -> DriftReport:
    """Return a report of sessions from 1970-01-11 on, in the last of which the slippage alarms."""
    ratios = np.full((sessions, len(readings)), np.nan)
    ratios[-2:] = [0.25, 0.75, np.nan]
    ratios[-1:] = [each.ratio for each in readings]
    return DriftReport("b" * 64, symbol, 0.1, 10 + np.arange(sessions), readings, ratios)


@pytest.fixture(scope="module")
def profile() -> DriftProfile:
    found = autocorrelated(np.random.default_rng(7), 30)
    described = {"data": "<bars> & more.parquet"}
    return fit_profile(found, bundle_id="b" * 64, symbol="TEST", described=described, windows=(5,))


def test_the_farthest_statistic_is_the_first_row() -> None:
    rows = table_rows(report(3))
    assert [row["statistic"] for row in rows] == ["slippage", "psi_volume", "psi_momentum"]
    assert [row["alarm"] for row in rows] == [True, False, False]
    assert (rows[0]["value"], rows[0]["threshold"], rows[0]["ratio"]) == ("3", "2", "1.50")
    assert rows[2]["value"] == rows[2]["ratio"] != "0.00"  # what is not known is not a zero


def test_the_plot_has_the_largest_ratio_of_each_group_that_is_there() -> None:
    plot = drift_plot(report(3))
    assert plot is not None
    lines = {trace["name"]: trace for trace in plot["data"]}
    assert list(lines) == ["inputs", "outcomes", "alarm"]  # no behavior among the readings
    assert lines["inputs"]["x"] == ["1970-01-11", "1970-01-12", "1970-01-13"]
    assert list(lines["inputs"]["y"]) == [0.0, 0.25, 0.5]
    assert list(lines["outcomes"]["y"]) == [0.0, 0.75, 1.5]
    assert lines["alarm"]["x"] == ["1970-01-11", "1970-01-13"]
    assert drift_plot(report(0)) is None


def test_the_page_says_what_drifted_and_from_what(profile: DriftProfile) -> None:
    page = render_drift(report(3), profile)
    assert "Drift of TEST from bundle bbbbbbbbbbbb" in page
    assert "Drift: 1 of 3 statistics are above their thresholds (slippage_20 1.50" in page
    assert page.count('id="drift"') == 1
    assert page.count("<td>yes</td>") == 1
    assert "&lt;bars&gt; &amp; more.parquet" in page
    assert "<bars>" not in page


def test_a_page_without_sessions_has_no_plot(profile: DriftProfile) -> None:
    page = render_drift(report(0), profile)
    assert "No session has ended yet" in page
    assert 'id="drift"' not in page
