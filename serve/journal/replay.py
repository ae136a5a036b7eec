"""Recompute decisions with the bundles and inputs that they were made of, bit for bit."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

import msgspec

from rllib_tactical.bundle.bundle import Bundle, load_bundle
from rllib_tactical.config.service import PerformanceConfig, ServiceConfig
from rllib_tactical.errors import DataError, ServiceError, TacticalError
from serve.api.decide_request import DecideInput
from serve.api.errors import RequestError
from serve.decision.deadline import bundle_engine
from serve.decision.decider import Decider
from serve.decision.promotion import COPIES
from serve.decision.risk_state import RiskState
from serve.journal.reading import read_decisions
from serve.journal.record import DecisionRecord, circumstances_of, input_of
from serve.state.machine import StateMachine
from serve.state.opening import is_remote, open_store
from serve.state.records import ExperimentRecord, ModelRecord, record_of
from serve.state.store import Store, StoredSnapshot, unpack

_UNTIMED: Final = ("timing",)


@dataclass(frozen=True, slots=True)
class Difference:
    """The first field of a decision in which record and recomputation differ."""

    decision_id: str
    at_s: float
    field: str
    recorded: Any
    recomputed: Any

    def __str__(self) -> str:
        return (
            f"decision {self.decision_id}: {self.field} was {self.recorded!r}, "
            f"recomputed {self.recomputed!r}"
        )


@dataclass(frozen=True, slots=True)
class Replay:
    """How many decisions were recomputed, how many differ, and the first that does."""

    decisions: int
    differ: int
    first: Difference | None


class PastStates:
    """The state at the versions at which decisions were made on its bars, and its bundles.

    Args:
        name: of the state.
        wanted: versions and symbols to keep.

    Raises:
        DamagedError: the state cannot be read for what it was.
    """

    def __init__(self, name: str, wanted: Iterable[tuple[int, str]]) -> None:
        self.paths: dict[str, list[Path]] = {}
        self._states: dict[tuple[int, str], RiskState] = {}
        symbols: dict[int, set[str]] = {}
        for version, symbol in wanted:
            symbols.setdefault(version, set()).add(symbol)
        store = open_store(name)
        try:
            for machine in self._machines(store, symbols):
                for symbol in symbols.get(machine.version, ()):
                    if symbol in machine.symbols:
                        snapshot = machine.snapshot(symbol)
                        self._states[machine.version, symbol] = RiskState.of(
                            snapshot, ServiceConfig()
                        )
        finally:
            store.close()

    def at(self, version: int, symbol: str) -> RiskState:
        """Return the state of a symbol at a version.

        Raises:
            DataError: there was none.
        """
        if (version, symbol) not in self._states:
            raise DataError(f"the state must have version {version} of {symbol}, found none")
        return self._states[version, symbol]

    def _machines(self, store: Store, wanted: Collection[int]) -> Iterator[StateMachine]:
        """Yield the state at the wanted versions, from the newest snapshot before them on."""
        image = store.image(archives=True)
        machine = _resumed(image.snapshots, min(wanted, default=0))
        if machine is not None and machine.version in wanted:
            yield machine
        for stored in chain(*map(unpack, image.archives), image.records):
            record = record_of(stored)
            if isinstance(record, ExperimentRecord):
                for each in record.challengers:
                    self.paths.setdefault(each.bundle_id, []).append(Path(each.path))
            if isinstance(record, ModelRecord):
                self.paths.setdefault(record.bundle_id, []).append(Path(record.path))
            if stored.sequence > max(wanted, default=0):
                continue
            if machine is None and isinstance(record, ModelRecord):
                machine = StateMachine(record)
            elif machine is not None and stored.sequence > machine.version:
                machine.apply(record)
            else:
                continue
            if machine.version in wanted:
                yield machine


def _resumed(snapshots: Sequence[StoredSnapshot], version: int) -> StateMachine | None:
    """Return the state of the newest snapshot up to a version, None without one."""
    for snapshot in sorted(snapshots, key=lambda each: -each.sequence):
        if snapshot.sequence <= version and snapshot.whole:
            with suppress(ServiceError):  # of another version: all records are applied instead
                return StateMachine.load(snapshot.data)
    return None


class Deciders:
    """Deciders of the bundles that decisions were made with, each loaded once.

    Args:
        name: of the state, whose folder has copies of bundles.
        paths: where bundles were, by id.
        given: folders to look into first.
    """

    def __init__(self, name: str, paths: dict[str, list[Path]], given: Sequence[Path] = ()) -> None:
        self._name, self._paths, self._given = name, paths, given
        self._loaded: dict[str, Decider] = {}

    def of(self, bundle_id: str) -> Decider:
        """Return a decider with the actors that the service uses.

        Raises:
            DataError: the bundle is nowhere.
        """
        if bundle_id not in self._loaded:
            self._loaded[bundle_id] = self._load(bundle_id)
        return self._loaded[bundle_id]

    def _load(self, bundle_id: str) -> Decider:
        bundle = find_bundle(self._name, bundle_id, self._paths, self._given)
        if bundle is None:
            raise DataError(
                f"bundle {bundle_id} must be in a folder named by --bundle, found nowhere"
            )
        return Decider(bundle, PerformanceConfig(), bundle_engine(bundle))


def find_bundle(
    name: str, bundle_id: str, paths: Mapping[str, Sequence[Path]], given: Sequence[Path] = ()
) -> Bundle | None:
    """Return a verified bundle, None when it is in none of the folders where it may be.

    Args:
        name: of the state, whose folder has copies of bundles.
        bundle_id: of the bundle.
        paths: where bundles were, by id.
        given: folders to look into first.
    """
    places = [*given, *paths.get(bundle_id, ())]
    if not is_remote(name):
        places.insert(len(given), Path(name) / COPIES / bundle_id)
    for place in places:
        try:
            bundle = load_bundle(place)
        except TacticalError:
            continue
        if bundle.bundle_id == bundle_id:
            return bundle
    return None


def replay(
    name: str,
    start_s: float | None = None,
    end_s: float | None = None,
    symbol: str | None = None,
    bundles: Sequence[Path] = (),
) -> Replay:
    """Recompute the decisions of a span; arguments as in ``read_decisions``.

    Raises:
        DataError: a bundle or a state is missing.
        DamagedError: journal or state are not what was written to them.
    """
    records = list(read_decisions(name, start_s, end_s, symbol))
    on_bars = (r for r in records if r.matrix is None)
    states = PastStates(name, ((r.state_version, r.parts.symbol) for r in on_bars))
    deciders = Deciders(name, states.paths, bundles)
    found = [
        difference
        for record in records
        if (difference := compare(record, deciders.of(record.answered["bundle_id"]), states))
    ]
    return Replay(len(records), len(found), min(found, key=lambda d: d.at_s, default=None))


def compare(record: DecisionRecord, decider: Decider, states: PastStates) -> Difference | None:
    """Return the first difference between a decision and its recomputation, None for none."""
    made = request_of(record, decider, states)
    if isinstance(made, Difference):
        return made
    again = decider.decide_under(made, circumstances_of(record), fallback=record.fallback)
    recomputed = msgspec.json.decode(msgspec.json.encode(again.answer))
    recorded = record.answered
    for part in _UNTIMED:
        recorded.pop(part), recomputed.pop(part)
    different = first_difference(recorded, recomputed)
    return None if different is None else Difference(record.decision_id, record.at_s, *different)


def request_of(
    record: DecisionRecord, decider: Decider, states: PastStates
) -> DecideInput | Difference:
    """Return the request of a decision; a difference where its bars say something else now."""
    if record.matrix is not None:
        return input_of(record)
    parts = record.parts
    try:
        window = decider.window(states.at(record.state_version, parts.symbol))
    except RequestError as error:
        raise DataError(f"state {record.state_version}: {error}") from error
    for field, recorded, found in (
        ("price", parts.price, window.price),
        ("atr", parts.atr, window.atr),
    ):
        if recorded != found:
            return Difference(record.decision_id, record.at_s, field, recorded, found)
    return input_of(record, window.matrix)


def first_difference(recorded: Any, recomputed: Any, path: str = "") -> tuple[str, Any, Any] | None:
    """Return path and values of the first difference of two JSON values, None when equal.

    Fields that only the recomputation has are those of a later version, and no difference.
    """
    if isinstance(recorded, dict) and isinstance(recomputed, dict):
        pairs = [(f"{path}.{key}", recorded[key], recomputed.get(key)) for key in recorded]
    elif (
        isinstance(recorded, list)
        and isinstance(recomputed, list)
        and len(recorded) == len(recomputed)
    ):
        both = enumerate(zip(recorded, recomputed, strict=True))
        pairs = [(f"{path}[{i}]", old, new) for i, (old, new) in both]
    else:
        return None if recorded == recomputed else (path.lstrip("."), recorded, recomputed)
    found = (first_difference(old, new, where) for where, old, new in pairs)
    return next((each for each in found if each is not None), None)
