"""Which challengers the state has, and since when each is compared with the bundle that decides."""

from __future__ import annotations

import msgspec

from serve.state.records import Challenger, ExperimentRecord


class ExperimentState(msgspec.Struct, frozen=True):
    """What an ``Experiment`` holds, for snapshots; ``since`` by bundle."""

    challengers: tuple[Challenger, ...] = ()
    since: dict[str, int] = {}


class Experiment:
    """The challengers of all symbols.

    A comparison begins when the service is started with the challenger, and anew when another
    bundle decides for the symbol. A later start with the same challenger goes on with it.
    """

    def __init__(self) -> None:
        self._record = ExperimentRecord()
        self._since: dict[str, int] = {}

    @property
    def record(self) -> ExperimentRecord:
        """What was last chosen."""
        return self._record

    def of(self, symbol: str) -> tuple[Challenger, ...]:
        """Return the challengers of a symbol."""
        return tuple(each for each in self._record.challengers if each.symbol == symbol)

    def since(self, challenger: Challenger) -> int:
        """Return the version of the state at which its comparison began."""
        return self._since[challenger.bundle_id]

    def choose(self, record: ExperimentRecord, version: int) -> None:
        """Take the challengers of a record; ``version``: of the state with it."""
        self._record = record
        self._since = {
            each.bundle_id: self._since.get(each.bundle_id, version) for each in record.challengers
        }

    def restart(self, symbol: str, version: int) -> None:
        """Begin anew, because another bundle decides for the symbol from ``version`` on."""
        for each in self.of(symbol):
            self._since[each.bundle_id] = version

    def state(self) -> ExperimentState:
        """Return all of it, for ``resume``."""
        return ExperimentState(self._record.challengers, dict(self._since))

    def resume(self, state: ExperimentState) -> None:
        """Go on from ``state``."""
        self._record, self._since = ExperimentRecord(state.challengers), dict(state.since)
