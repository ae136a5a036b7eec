"""What the index of a vote means, and what the actions of a decision are called."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np

from rllib_tactical.domain.types import HOLD, LONG, SHORT, IntArray

LABELS: Final = {
    "fvg": ("long", "hold", "short"),
    "momentum": ("up", "neutral", "down"),
    "entry": ("wait", "execute", "aggressive"),
}
"""Names of each agent's votes by index."""

SIGNS: Final[IntArray] = np.array([[1, 0, -1], [1, 0, -1], [-1, 0, 1]], dtype=np.int64)
"""Signed action by agent (rows as in AGENTS) and index."""

WAIT, EXECUTE, AGGRESSIVE = 0, 1, 2
"""Indices of the entry agent's votes."""

ActionName = Literal["long", "hold", "short"]

ACTION_NAMES: Final[dict[int, ActionName]] = {LONG: "long", HOLD: "hold", SHORT: "short"}
"""Names of a decision's action, and of the side of a position or vote."""
