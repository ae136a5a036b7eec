"""What the monitor of drift last found, and how replicas read it: one small file, rarely new."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import msgspec

from rllib_tactical.monitoring.monitor import DriftReport

_LOG = logging.getLogger(__name__)
DRIFT_FILE: Final = "drift.json"


class SymbolDrift(msgspec.Struct, frozen=True, kw_only=True):
    """Drift of one symbol after its newest whole session.

    ``profile``: whether there is one of the bundle; ``ratios``: by group, the largest statistic
    over its threshold, an alarm above 1; ``alarms``: how many statistics are above theirs.
    """

    bundle_id: str
    profile: bool
    sessions: int = 0
    alarms: int = 0
    ratios: dict[str, float] = msgspec.field(default_factory=dict)
    words: str = ""

    @classmethod
    def of(cls, report: DriftReport) -> SymbolDrift:
        """Return the short form of a report."""
        ratios: dict[str, float] = {}
        for reading in report.readings:
            ratios[reading.group] = max(ratios.get(reading.group, 0.0), reading.ratio)
        return cls(
            bundle_id=report.bundle_id,
            profile=True,
            sessions=len(report.session),
            alarms=len(report.alarms),
            ratios={group: round(ratio, 4) for group, ratio in ratios.items()},
            words=report.words,
        )


class DriftStatus(msgspec.Struct, frozen=True, kw_only=True):
    """When the monitor last found something new, at which record of the store, and what."""

    at_s: float
    sequence: int
    symbols: dict[str, SymbolDrift]


class DriftReader:
    """Reads the monitor's file when it has changed.

    Args:
        folder: of the state on this machine.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / DRIFT_FILE
        self._stamp = 0
        self._status: DriftStatus | None = None

    def read(self) -> dict[str, SymbolDrift]:
        """Return what is known by symbol, nothing without a monitor."""
        try:
            stamp = self._path.stat().st_mtime_ns
            if stamp != self._stamp:
                self._status = msgspec.json.decode(self._path.read_bytes(), type=DriftStatus)
                self._stamp = stamp
        except FileNotFoundError:
            self._status = None
        except (OSError, msgspec.DecodeError) as error:
            _LOG.warning("the result of the monitor of drift cannot be read: %s", error)
        return {} if self._status is None else self._status.symbols
