"""Which fills are accepted: each counts once, and may be corrected or busted by its id."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Final

from msgspec import UNSET
from msgspec.structs import replace

from rllib_tactical.domain.types import Instrument
from serve.api.errors import RequestError, invalid
from serve.api.write_requests import FillInput, FillsRequest, epoch_seconds
from serve.state.portfolio import Fill, signed_votes

FUTURE_SLACK_S: Final = 60.0

KEPT_FILLS: Final = 20_000
"""Newest fills whose ids are known; one that is as old as those before them is refused."""


@dataclass(frozen=True, slots=True)
class FillPlan:
    """A request's new fills, ids of the fills that it busts, and how much of it is repeated."""

    new: tuple[Fill, ...]
    busts: tuple[str, ...]
    repeated: int


class FillRegister:
    """The newest fills that were accepted, as they were sent.

    ``forgotten_s``: epoch time of the latest fill whose id is not known any more, 0 without one.
    """

    def __init__(self, instrument: Instrument) -> None:
        self._instrument = instrument
        self._fills: MutableMapping[str, Fill] = {}
        self._replaced: MutableMapping[str, str | None] = {}  # by which fill; None: busted
        self._last_of: dict[str, str] = {}  # the newest fill of each decision's order
        self.forgotten_s = 0.0

    @property
    def fills(self) -> list[Fill]:
        """The fills in the order in which they came."""
        return list(self._fills.values())

    def newest(self, count: int) -> list[tuple[Fill, bool]]:
        """Return the newest fills, oldest first, and whether each was undone or replaced."""
        found = list(self._fills.values())[-count:]
        return [(fill, fill.fill_id in self._replaced) for fill in found]

    @property
    def busts(self) -> list[str]:
        """Ids of the fills that were busted."""
        return [fill_id for fill_id, by in self._replaced.items() if by is None]

    def add(self, fill: Fill) -> None:
        """Note a fill that ``check`` found to be new."""
        self._note(fill)
        if len(self._fills) > KEPT_FILLS:
            self._forget(self._fills[next(iter(self._fills))])

    def _note(self, fill: Fill) -> None:
        self._fills[fill.fill_id] = fill
        if fill.corrects is not None:
            self._replaced[fill.corrects] = fill.fill_id
        if fill.decision_id is not None:
            self._last_of[fill.decision_id] = fill.fill_id

    def has_filled(self, decision_id: str) -> bool:
        """Return whether one of the fills is of the order of a decision."""
        return decision_id in self._last_of

    def bust(self, fill_id: str) -> None:
        """Note that a fill was undone."""
        self._replaced[fill_id] = None

    def check(
        self, request: FillsRequest, now_s: float, is_kept: Callable[[str], bool]
    ) -> FillPlan:
        """Return which fills and busts of a request are new; nothing changes.

        Args:
            request: fills, then busts.
            now_s: epoch time.
            is_kept: whether a fill is recent enough to be corrected or busted.

        Raises:
            RequestError: 422 for a fill in the future, for a correction or bust of a fill that is
                not known, and for a request without any of them; 409 for an id that was accepted
                with other values, or is in the request twice with different ones, for a correction
                or bust of a fill that no longer counts or is too old, and for a fill so old that it
                may have been accepted.
        """
        if not (request.fills or request.busts):
            raise invalid("fills", "there must be a fill or a bust, found none")
        after = FillRegister(self._instrument)
        after._fills, after._replaced = ChainMap({}, self._fills), ChainMap({}, self._replaced)
        new: dict[str, Fill] = {}
        repeated = 0
        for i, given in enumerate(request.fills):
            fill = after._fill(given, f"fills[{i}]", now_s)
            known = after._fills.get(fill.fill_id)
            if known is None:
                if fill.time_s <= self.forgotten_s:
                    raise _too_old(f"fills[{i}].timestamp", "it may have been accepted before")
                if fill.corrects is not None:
                    after._require_in_force(fill.corrects, f"fills[{i}].corrects")
                    _require_kept(fill.corrects, new, is_kept, f"fills[{i}].corrects")
                new[fill.fill_id] = fill
                after._note(fill)
            elif known in (fill, replace(fill, bundle_id=None)):  # older versions kept no bundle
                repeated += 1
            else:
                raise RequestError(
                    409,
                    "conflict",
                    f"fills[{i}].fill_id: {fill.fill_id} was accepted with other values",
                    f"fills[{i}].fill_id",
                )
        busts = []
        for i, fill_id in enumerate(request.busts):
            if fill_id in after._fills and after._replaced.get(fill_id, "") is None:
                repeated += 1
                continue
            after._require_in_force(fill_id, f"busts[{i}]")
            _require_kept(fill_id, new, is_kept, f"busts[{i}]")
            busts.append(fill_id)
            after.bust(fill_id)
        return FillPlan(tuple(new.values()), tuple(busts), repeated)

    def _forget(self, fill: Fill) -> None:
        del self._fills[fill.fill_id]
        self._replaced.pop(fill.fill_id, None)
        if fill.decision_id is not None and self._last_of[fill.decision_id] == fill.fill_id:
            del self._last_of[fill.decision_id]
        self.forgotten_s = max(self.forgotten_s, fill.time_s)

    def _require_in_force(self, fill_id: str, field: str) -> None:
        if fill_id not in self._fills:
            raise invalid(field, f"no fill {fill_id} was accepted", "unknown_fill")
        if fill_id in self._replaced:
            by = self._replaced[fill_id]
            became = "busted" if by is None else f"corrected by {by}"
            raise RequestError(409, "conflict", f"{field}: {fill_id} was {became}", field)

    def _fill(self, given: FillInput, field: str, now_s: float) -> Fill:
        time_s = epoch_seconds(given.timestamp, f"{field}.timestamp")
        if time_s > now_s + FUTURE_SLACK_S:
            raise invalid(
                f"{field}.timestamp",
                f"must not be in the future: now is {now_s:.0f}, found {time_s:.0f}",
            )
        fee = given.commission
        if fee is UNSET:
            fee = given.quantity * self._instrument.commission_per_lot
        origin = given.metadata
        corrected = self._fills.get(given.corrects or "")
        decision_id = None if corrected is None else corrected.decision_id
        votes = None if corrected is None else corrected.votes
        bundle_id = None if corrected is None else corrected.bundle_id
        if origin is not None:
            decision_id, votes = origin.decision_id, signed_votes(origin.votes)
            bundle_id = origin.bundle_id
        return Fill(
            fill_id=given.fill_id,
            side=1 if given.side == "BUY" else -1,
            quantity=given.quantity,
            price=given.price,
            fee=fee,
            time_s=time_s,
            decision_id=decision_id,
            votes=votes,
            corrects=given.corrects,
            bundle_id=bundle_id,
        )


def _require_kept(
    fill_id: str, new: dict[str, Fill], is_kept: Callable[[str], bool], field: str
) -> None:
    if fill_id not in new and not is_kept(fill_id):
        raise _too_old(field, f"{fill_id} cannot be changed any more")


def _too_old(field: str, why: str) -> RequestError:
    text = f"{field}: it is too old: {why}; adopt the broker's account instead"
    return RequestError(409, "too_old", text, field)
