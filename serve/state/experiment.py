"""Which challengers the state has, and since when each is compared with the bundle that decides."""

from __future__ import annotations

import hashlib

import msgspec

from serve.state.records import Challenger, ExperimentRecord, Split


class ExperimentState(msgspec.Struct, frozen=True):
    """What an ``Experiment`` holds, for snapshots; ``since`` by bundle."""

    challengers: tuple[Challenger, ...] = ()
    since: dict[str, int] = {}
    split: Split = "none"


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

    @property
    def is_split(self) -> bool:
        """Whether challengers decide in place of the champion at times."""
        return self._record.split != "none"

    def deciding(self, symbol: str, session: int | None) -> Challenger | None:
        """Return the challenger that decides for a symbol, None for the champion.

        Each has the same share of the symbols, or of the sessions of each symbol. A hash says
        whose turn it is, so that every replica and every replay finds the same.

        Args:
            symbol: one that is served.
            session: how many sessions have begun, None before the first price.
        """
        arms = self.of(symbol)
        by_session = self._record.split == "session"
        if not arms or not self.is_split or (by_session and session is None):
            return None
        parts = [symbol, *(each.bundle_id for each in arms), *([str(session)] * by_session)]
        digest = hashlib.sha256(" ".join(parts).encode()).digest()
        turn = int.from_bytes(digest[:8], "big") % (1 + len(arms))
        return None if turn == 0 else arms[turn - 1]

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
        return ExperimentState(self._record.challengers, dict(self._since), self._record.split)

    def resume(self, state: ExperimentState) -> None:
        """Go on from ``state``."""
        self._record = ExperimentRecord(state.challengers, state.split)
        self._since = dict(state.since)
