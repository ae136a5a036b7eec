"""Overrides of a vote: an operator's order, a halt with an open position, or a data issue."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import numpy as np

from rllib_tactical.domain.decision.pipeline import Decision
from rllib_tactical.domain.decision.risk import AccountView
from rllib_tactical.domain.types import Reason


class Control(StrEnum):
    """What an operator has ordered; it applies until ``none`` is ordered.

    ``pause``: no orders. ``force_hold``: no orders either, because the operator considers the
    market untradable. ``flatten``: close the position, then no orders.
    """

    NONE = "none"
    PAUSE = "pause"
    FORCE_HOLD = "force_hold"
    FLATTEN = "flatten"


_ORDERED: Final = {
    Control.PAUSE: Reason.PAUSED,
    Control.FORCE_HOLD: Reason.FORCED_HOLD,
    Control.FLATTEN: Reason.FLATTEN,
}


_NO_ORDER: Final = (
    Reason.STATE_UNAVAILABLE,
    Reason.MODEL_LOADING,
    Reason.EVENT_LATE,
    Reason.EVENT_EARLY,
)
"""What to decide on, or with, is not known here; or what it was about is not now."""

_UNSURE: Final = (Reason.CLOCK_JUMPED, Reason.POSITION_MISMATCH, Reason.DATA_SUSPECT)
"""What is known may be wrong: an operator has to decide."""


@dataclass(frozen=True, slots=True)
class Override:
    """Why a decision is replaced. ``flatten``: by closing the position, not by holding it.

    ``operator``: an operator ordered it.
    """

    reason: Reason
    flatten: bool = False
    operator: bool = False


def override_for(
    control: Control, account: AccountView, data_issue: Reason | None = None
) -> Override | None:
    """Return the override of one account's vote (N = 1), None when there is none.

    The first that applies counts: an unknown state, one whose bundle is not loaded, and an event
    that came too late or too early (no order at all); the operator's order; a clock that has
    jumped, a position that is not the broker's, and bars that may be wrong, which may also have
    caused a halt; a session halted by its drawdown (the position is closed, as the simulator does
    at the next open); data that are stale. (After missing bars ``decide`` itself holds.)

    Args:
        control: the operator's order.
        account: the account as it is now.
        data_issue: ``STATE_UNAVAILABLE``, ``MODEL_LOADING``, ``EVENT_LATE``, ``EVENT_EARLY``,
            ``CLOCK_JUMPED``, ``POSITION_MISMATCH``, ``DATA_SUSPECT`` or ``DATA_STALE`` when that is
            the case.
    """
    if data_issue in _NO_ORDER:
        return Override(data_issue)
    if control is not Control.NONE:
        return Override(_ORDERED[control], control is Control.FLATTEN, operator=True)
    if data_issue in _UNSURE:
        return Override(data_issue)
    if account.halted[0] and account.position_side[0]:
        return Override(Reason.SESSION_HALTED, flatten=True)
    return None if data_issue is None else Override(data_issue)


def apply_override(decision: Decision, account: AccountView, override: Override) -> Decision:
    """Return ``decision`` with ``override`` applied; the vote is kept for the record."""
    held = account.position_side != 0
    closes = held & override.flatten
    return replace(
        decision,
        action=np.where(closes, -account.position_side, 0),
        execute=closes,
        closes=closes,
        quantity=np.where(closes, account.position_quantity, 0.0),
        reason=np.full(len(closes), override.reason.value),
    )
