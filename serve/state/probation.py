"""A promoted bundle is on probation: one that breaks its limits is replaced by the one before."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from serve.state.records import AUTOMATIC, ModelRecord


class ProbationState(msgspec.Struct, frozen=True):
    """What a ``Probation`` holds, for snapshots.

    ``previous``: what decided before, None where there is nothing to go back to; ``session``: how
    many sessions had begun at the promotion; ``armed``: whether trading was not halted since.
    """

    previous: ModelRecord | None = None
    session: int | None = None
    armed: bool = False


class Probation:
    """Of the bundle that decides for one symbol.

    Only the session's drawdown limit counts, and only a halt that began after the promotion. A
    bundle that a start of the service named, or a rollback, is not on probation.
    """

    def __init__(self) -> None:
        self._state = ProbationState()

    def choose(self, before: ModelRecord, now: ModelRecord, session: int | None) -> None:
        """Take a bundle that was chosen; ``session``: how many sessions have begun."""
        if now.bundle_id == before.bundle_id:
            return
        promoted = now.launch is None and now.by != AUTOMATIC
        self._state = ProbationState(before, session) if promoted else ProbationState()

    def see(self, halted: bool) -> None:
        """Note whether the session is halted now."""
        if self._state.previous is not None and not self._state.armed and not halted:
            self._state = replace(self._state, armed=True)

    def rollback(self, halted: bool, session: int | None, sessions: int) -> ModelRecord | None:
        """Return the record of the rollback that is due, None for none.

        Args:
            halted: whether the session is halted by its drawdown limit.
            session: how many sessions have begun.
            sessions: for how many sessions a bundle is on probation, the first one included.
        """
        state = self._state
        if state.previous is None or not (state.armed and halted):
            return None
        passed = (session or 0) - (state.session or 0)
        if passed >= sessions:
            return None
        note = f"its session drawdown limit halted trading in session {passed + 1} of its probation"
        return replace(
            state.previous, launch=None, request_id=None, by=AUTOMATIC, note=note, at_s=None
        )

    def state(self) -> ProbationState:
        """Return all of it, for ``resume``."""
        return self._state

    def resume(self, state: ProbationState) -> None:
        """Go on from ``state``."""
        self._state = state
