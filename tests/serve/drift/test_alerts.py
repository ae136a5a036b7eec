"""Drift becomes a warning only for the bundle that decides now."""

from __future__ import annotations

from serve.api.alerts import AlertCode
from serve.api.health import Alert
from serve.drift.alerts import drift_alerts, drift_of
from serve.drift.status import SymbolDrift

DRIFTED = SymbolDrift(bundle_id="old", profile=True, sessions=5, alarms=1, words="Drift: one.")
CALM = SymbolDrift(bundle_id="new", profile=True, sessions=5, words="No drift.")


def test_drift_is_known_only_of_the_bundle_that_decides() -> None:
    assert drift_of({"X": DRIFTED}, "X", "old") is DRIFTED
    assert drift_of({"X": DRIFTED}, "X", "new") is None
    assert drift_of({"X": DRIFTED}, "Y", "old") is None


def test_a_drifted_bundle_is_a_warning_that_names_its_symbol_among_several() -> None:
    found = {"X": DRIFTED, "Y": CALM}
    assert drift_alerts(found, {"X": "old"}) == [Alert.of(AlertCode.DRIFT, "Drift: one.")]
    several = drift_alerts(found, {"X": "old", "Y": "new", "Z": "old"})
    assert several == [Alert.of(AlertCode.DRIFT, "X: Drift: one.")]


def test_neither_a_promotion_nor_a_calm_bundle_is_a_warning() -> None:
    assert drift_alerts({"X": DRIFTED}, {"X": "new"}) == []
    assert drift_alerts({"Y": CALM}, {"Y": "new"}) == []
