"""Which fills are accepted: each counts once, and may be corrected or busted by its id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from msgspec import UNSET

from rllib_tactical.domain.types import Instrument
from serve.api.errors import RequestError, invalid
from serve.api.write_requests import FillInput, epoch_seconds
from serve.state.portfolio import Fill, signed_votes

FUTURE_SLACK_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class FillPlan:
    """A request's new fills, and how many it repeats."""

    new: tuple[Fill, ...]
    repeated: int


class FillRegister:
    """Every fill that was accepted, as it was sent."""

    def __init__(self, instrument: Instrument) -> None:
        self._instrument = instrument
        self._fills: dict[str, Fill] = {}

    @property
    def fills(self) -> list[Fill]:
        """The fills in the order in which they came."""
        return list(self._fills.values())

    def add(self, fill: Fill) -> None:
        """Note a fill that ``check`` found to be new."""
        self._fills[fill.fill_id] = fill

    def check(self, fills: list[FillInput], now_s: float) -> FillPlan:
        """Return which fills of a request are new; nothing changes.

        Raises:
            RequestError: 422 for a fill in the future; 409 for an id that was accepted with other
                values, or is in the request twice with different ones.
        """
        new: dict[str, Fill] = {}
        repeated = 0
        for i, given in enumerate(fills):
            fill = self._fill(given, f"fills[{i}]", now_s)
            known = self._fills.get(fill.fill_id) or new.get(fill.fill_id)
            if known is None:
                new[fill.fill_id] = fill
            elif known == fill:
                repeated += 1
            else:
                raise RequestError(
                    409,
                    "conflict",
                    f"fills[{i}].fill_id: {fill.fill_id} was accepted with other values",
                    f"fills[{i}].fill_id",
                )
        return FillPlan(tuple(new.values()), repeated)

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
        return Fill(
            fill_id=given.fill_id,
            side=1 if given.side == "BUY" else -1,
            quantity=given.quantity,
            price=given.price,
            fee=fee,
            time_s=time_s,
            decision_id=None if origin is None else origin.decision_id,
            votes=None if origin is None else signed_votes(origin.votes),
        )
