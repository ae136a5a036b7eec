"""The shadow's watch: it runs where the service was started, never in a process that decides.

It follows journal and state, has the challengers answer what is new, and leaves the result in a
file that the replicas read for ``GET /experiment``, health and metrics. Everything in it follows
from journal and state: a start finds again what was known before.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.config.service import PerformanceConfig
from rllib_tactical.domain.simulation.history import MarketHistory
from rllib_tactical.errors import DataError, TacticalError
from rllib_tactical.monitoring.challenge import DEFAULT_RULES, ChallengeRules
from serve.api.experiment import ExperimentAnswer
from serve.decision.deadline import bundle_engine
from serve.decision.decider import Decider
from serve.experiment.shadow import Arm, Shadow
from serve.experiment.status import write_experiment
from serve.journal.record import decision_of
from serve.journal.replay import find_bundle
from serve.state.history import load
from serve.state.machine import StateMachine
from serve.state.opening import journal_name, open_store
from serve.state.records import record_of
from serve.state.seen_bars import SeenBars
from serve.state.store import Store, StoredRecord, records_after

_LOG = logging.getLogger(__name__)
CHECK_S: Final = 1.0
"""How often the watch looks whether there is something new."""

SHARE: Final = 0.1
"""Share of one processor that the shadow may use, however fast bars come."""

BEAT_S: Final = 60.0
"""How often the result is written again where nothing is new: so it is known that it looks."""

NICENESS: Final = 10
"""Of the watch's thread: decisions go first."""


class _Market:
    """One symbol: its bars, and its shadow as long as the same bundles are compared."""

    def __init__(self, key: object, shadow: Shadow, seen: SeenBars) -> None:
        self.key, self.shadow, self.seen = key, shadow, seen
        self._history: MarketHistory | None = None
        self._is_new = True

    def add(self, stored: StoredRecord) -> None:
        """Take the next record of the state."""
        if self.seen.add(stored):
            self._is_new = True

    def history(self) -> MarketHistory | None:
        """Return the bars so far, None while there are too few."""
        if self._is_new:
            self._history, self._is_new = self.seen.history(), False
        return self._history


class ExperimentWatch:
    """Has the challengers answer in a thread of this process until ``stop``.

    Args:
        name: of the state.
        folder: where the result is left, as ``experiment.json``.
        challengers: verified bundles, those that the service was started with.
        rules: when a comparison has a result.
        period_s: how often to look.
        clock: epoch time in seconds.

    Raises:
        BundleError: the model of a challenger cannot be loaded.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        challengers: Sequence[Bundle],
        rules: ChallengeRules = DEFAULT_RULES,
        period_s: float = CHECK_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._name, self._folder, self._rules = name, folder, rules
        self._period_s, self._clock = period_s, clock
        self._deciders: Mapping[str, Decider] = {
            bundle.bundle_id: Decider(bundle, PerformanceConfig(), bundle_engine(bundle))
            for bundle in challengers
        }
        self._stores: tuple[Store, Store] | None = None
        self._machine: StateMachine | None = None
        self._markets: dict[str, _Market] = {}
        self._upto = 0, 0  # last record of state and journal that was read
        self._known = ExperimentAnswer()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="experiment", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; a look in progress is not waited for."""
        self._ended.set()

    def check(self) -> bool:
        """Look once; return whether anything was new.

        Raises:
            TacticalError: state or journal cannot be read, or the champion's bundle is nowhere.
            OSError: the result cannot be written.
        """
        try:
            return self._look()
        except BaseException:
            self._close()  # half of what is new may have been taken: all of it is read again
            raise

    def _look(self) -> bool:
        state, journal = self._opened()
        # the journal's end first: its decisions are on states that are read after it
        decided = journal.version()
        if (state.version(), decided) == self._upto:
            return False
        machine = self._followed(state)
        if machine is None:
            return False
        if self._compare(machine):
            self._upto = 0, 0
        for stored in records_after(state, self._upto[0]):
            if stored.sequence <= machine.version:
                for market in self._markets.values():
                    market.add(stored)
        for stored in records_after(journal, self._upto[1]):
            if stored.sequence > decided or self._ended.is_set():
                break
            record = decision_of(stored)
            if (found := self._markets.get(record.parts.symbol)) is not None:
                bar_s = found.seen.newest(record.state_version)
                found.shadow.take(record, bar_s, found.history())
        self._upto = machine.version, decided
        symbols = {
            symbol: market.shadow.report(market.history())
            for symbol, market in self._markets.items()
        }
        self._write(ExperimentAnswer(at_s=self._clock(), symbols=symbols))
        return True

    def _opened(self) -> tuple[Store, Store]:
        if self._stores is None:
            state = open_store(self._name)
            try:
                self._stores = state, open_store(journal_name(self._name))
            except BaseException:
                state.close()
                raise
        return self._stores

    def _close(self) -> None:
        stores, self._stores = self._stores, None
        self._machine, self._markets, self._upto = None, {}, (0, 0)
        for store in stores or ():
            store.close()

    def _followed(self, state: Store) -> StateMachine | None:
        """Return the state as it is in the store, None while it is empty."""
        if self._machine is None:
            self._machine, _, _ = load(state)
        elif self._machine.version < state.version():
            for stored in records_after(state, self._machine.version):
                self._machine.apply(record_of(stored))
        return self._machine

    def _compare(self, machine: StateMachine) -> bool:
        """Make the shadows of what is compared now; return whether that is something new."""
        wanted = {symbol: self._key(machine, symbol) for symbol in machine.served}
        wanted = {symbol: key for symbol, key in wanted.items() if key[1]}
        if wanted == {symbol: market.key for symbol, market in self._markets.items()}:
            return False
        self._markets = {}
        for symbol, key in wanted.items():
            own = machine.symbols[symbol]
            bundle_id, compared = key
            champion = find_bundle(self._name, bundle_id, {bundle_id: [Path(own.model.path)]})
            if champion is None:
                raise DataError(f"bundle {bundle_id[:12]} decides for {symbol}, found it nowhere")
            arms = [Arm(self._deciders[each], since) for each, since in compared]
            seen = SeenBars(champion.instrument, champion.bar_seconds)
            decider = Decider(champion, PerformanceConfig(), bundle_engine(champion))
            self._markets[symbol] = _Market(key, Shadow(decider, arms, self._rules), seen)
        return True

    def _key(self, machine: StateMachine, symbol: str) -> tuple[str, tuple[tuple[str, int], ...]]:
        """Return what is compared: the bundle that decides, the others, and since when."""
        bundle_id, experiment = machine.symbols[symbol].model.bundle_id, machine.experiment
        compared = tuple(
            (each.bundle_id, experiment.since(each))
            for each in experiment.of(symbol)
            if each.bundle_id in self._deciders and each.bundle_id != bundle_id
        )
        return bundle_id, compared

    def _write(self, found: ExperimentAnswer) -> None:
        write_experiment(self._folder, found)
        self._known = found

    def _beat(self) -> None:
        now_s = self._clock()
        if self._known.at_s is None or now_s - self._known.at_s >= BEAT_S:
            self._write(replace(self._known, at_s=now_s))

    def _run(self) -> None:
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        while not self._ended.is_set():
            begun = time.thread_time()
            try:
                if not self.check():
                    self._beat()
            except (TacticalError, OSError) as error:
                _LOG.warning("the challengers did not answer: %s", error)
            except Exception:
                _LOG.exception("the challengers did not answer")
            used_s = time.thread_time() - begun
            self._ended.wait(max(self._period_s, used_s / SHARE))
        self._close()
