"""The monitor of drift: it runs where the service was started, never in a process that decides.

Whenever a session has ended it compares what the service has seen and done with the profiles of
the bundles that decide, by the code of ``tactical drift``, and leaves the result in a file that
the replicas read for health and metrics.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Set
from pathlib import Path
from typing import Final

import msgspec

from rllib_tactical.artifacts.atomic import atomic_write_bytes
from rllib_tactical.errors import TacticalError, UsageError
from rllib_tactical.monitoring.monitor import DriftReport, assess
from rllib_tactical.monitoring.profile import DriftProfile, read_profile
from serve.drift.observed import observe_state
from serve.drift.status import DRIFT_FILE, DriftStatus, SymbolDrift
from serve.state.history import load
from serve.state.machine import StateMachine
from serve.state.opening import open_store

_LOG = logging.getLogger(__name__)
CHECK_S: Final = 60.0
"""How often the monitor looks whether there is something new."""


def read_profiles(place: Path) -> dict[str, DriftProfile]:
    """Return the profiles in a file, or in all JSON files of a folder, by bundle.

    Raises:
        UsageError: there is none.
        UnreadableError: one cannot be read.
    """
    files = sorted(place.glob("*.json")) if place.is_dir() else [place]
    found = {}
    for path in files:
        profile = read_profile(path)
        found[profile.bundle_id] = profile
    if not found:
        raise UsageError(f"--drift must hold the profile of a bundle, found none: {place}")
    return found


def check_drift(
    name: str, profiles: dict[str, DriftProfile], now_s: float
) -> tuple[DriftStatus, dict[str, DriftReport]]:
    """Return how far what a service saw and did is from the profiles of the bundles that decide.

    Args:
        name: of the state, from ``find_state``.
        profiles: by bundle; a symbol whose bundle has none is not compared.
        now_s: epoch time.

    Raises:
        StoreError: the state cannot be read.
        DamagedError: it is not what was written.
    """
    store = open_store(name)
    try:
        machine, head, _ = load(store)
    finally:
        store.close()
    symbols, reports = {}, {}
    for symbol in () if machine is None else machine.served:
        bundle_id = machine.symbols[symbol].model.bundle_id if machine is not None else ""
        profile = profiles.get(bundle_id)
        if profile is None:
            symbols[symbol] = SymbolDrift(bundle_id=bundle_id, profile=False)
            continue
        found = observe_state(name, symbol, bundle_id)
        if found is None:
            symbols[symbol] = SymbolDrift(bundle_id=bundle_id, profile=True)
            continue
        reports[symbol] = report = assess(profile, found)
        symbols[symbol] = SymbolDrift.of(report)
    return DriftStatus(at_s=now_s, sequence=head.sequence, symbols=symbols), reports


def _progress(machine: StateMachine) -> tuple[object, ...]:
    """Return what changes when a session begins or ends, or another bundle decides."""
    found = []
    for symbol in machine.served:
        own, market = machine.symbols[symbol], machine.snapshot(symbol).market
        open_ = market is not None and market.tradable
        found.append((symbol, own.model.bundle_id, own.sessions, open_))
    return tuple(found)


class DriftWatch:
    """Checks for drift in a thread of this process until ``stop``.

    Args:
        name: of the state.
        folder: where the result is left, as ``drift.json``.
        place: the profiles; read again each time, so that those of new bundles are found.
        period_s: how often to look.
        clock: epoch time in seconds.

    Raises:
        UsageError: there are no profiles.
        UnreadableError: one cannot be read.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        place: Path,
        period_s: float = CHECK_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        read_profiles(place)
        self._name, self._folder, self._place = name, folder, place
        self._period_s, self._clock = period_s, clock
        self._sequence = -1
        self._profiled: Set[str] = frozenset()
        self._known: object = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="drift", daemon=True)

    def start(self) -> None:
        """Begin to check."""
        self._thread.start()

    def stop(self) -> None:
        """Check no more; a check in progress is not waited for."""
        self._ended.set()

    def check(self) -> bool:
        """Check once when a session has begun or ended since; return whether one has.

        Raises:
            TacticalError: state or profiles cannot be read.
            OSError: the result cannot be written.
        """
        profiles = read_profiles(self._place)
        store = open_store(self._name)
        try:
            sequence = store.head().sequence
            if sequence == self._sequence and profiles.keys() == self._profiled:
                return False
            machine, _, _ = load(store)
        finally:
            store.close()
        self._sequence, self._profiled = sequence, profiles.keys()
        known = (tuple(profiles), None if machine is None else _progress(machine))
        if known == self._known:
            return False
        status, _ = check_drift(self._name, profiles, self._clock())
        self._folder.mkdir(parents=True, exist_ok=True)
        atomic_write_bytes(self._folder / DRIFT_FILE, msgspec.json.encode(status))
        self._known = known
        return True

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self.check()
            except (TacticalError, OSError) as error:
                _LOG.warning("drift was not checked: %s", error)
            except Exception:
                _LOG.exception("drift was not checked")
            self._ended.wait(self._period_s)
