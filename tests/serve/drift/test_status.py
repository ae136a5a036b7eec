"""The short form of a drift report, and the file through which replicas read it."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import msgspec
import numpy as np
import pytest

from rllib_tactical.monitoring.monitor import DriftReport, Reading
from serve.drift.status import DRIFT_FILE, DriftReader, DriftStatus, SymbolDrift


def report(*readings: Reading, sessions: int = 2) -> DriftReport:
    ratios = np.zeros((sessions, len(readings)))
    days = np.arange(20_000, 20_000 + sessions)
    return DriftReport("b" * 64, "X", 1.0, days, readings, ratios)


def write(folder: Path, data: bytes, time_ns: int) -> None:
    """Write the monitor's file as of a time, so that no clock is too coarse to see it."""
    path = folder / DRIFT_FILE
    path.write_bytes(data)
    os.utime(path, ns=(time_ns, time_ns))


def encoded(drift: SymbolDrift) -> bytes:
    return msgspec.json.encode(DriftStatus(at_s=1.0, sequence=2, symbols={"X": drift}))


def test_each_group_keeps_its_largest_ratio_and_alarms_are_counted() -> None:
    found = report(
        Reading("inputs", "psi_body", 5, 0.3, 0.2, 1.5),
        Reading("inputs", "psi_body", 20, 0.1, 0.2, 0.5),
        Reading("behavior", "votes", 5, 0.1, 0.3, 1.0 / 3.0),
        Reading("outcomes", "pnl", 5, None, 0.3, 0.0),
    )
    short = SymbolDrift.of(found)
    assert short.ratios == {"inputs": 1.5, "behavior": 0.3333, "outcomes": 0.0}
    assert (short.bundle_id, short.profile, short.sessions, short.alarms) == ("b" * 64, True, 2, 1)
    assert short.words == found.words
    assert short.words.startswith("Drift: 1 of 4 statistics are above their thresholds")
    assert SymbolDrift.of(report(sessions=0)).words.startswith("No session has ended yet")


def test_the_file_is_read_only_when_its_time_changes(tmp_path: Path) -> None:
    reader = DriftReader(tmp_path)
    assert reader.read() == {}
    first = SymbolDrift(bundle_id="a", profile=True, alarms=1)
    second = SymbolDrift(bundle_id="b", profile=False)
    write(tmp_path, encoded(first), 10)
    assert reader.read() == {"X": first}
    write(tmp_path, encoded(second), 10)
    assert reader.read() == {"X": first}
    write(tmp_path, encoded(second), 20)
    assert reader.read() == {"X": second}


def test_a_file_that_cannot_be_read_leaves_what_was_known_and_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reader = DriftReader(tmp_path)
    known = SymbolDrift(bundle_id="a", profile=True)
    write(tmp_path, encoded(known), 10)
    assert reader.read() == {"X": known}
    write(tmp_path, b"cut o", 20)
    with caplog.at_level(logging.WARNING):
        assert reader.read() == {"X": known}
    assert "the result of the monitor of drift cannot be read" in caplog.text
    write(tmp_path, encoded(SymbolDrift(bundle_id="b", profile=True)), 30)
    assert reader.read()["X"].bundle_id == "b"
    (tmp_path / DRIFT_FILE).unlink()
    assert reader.read() == {}
