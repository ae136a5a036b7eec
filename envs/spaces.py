"""Observation and action spaces of each agent."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from rllib_tactical.domain.simulation.history import MARKET_FEATURES
from rllib_tactical.domain.simulation.simulator import ACCOUNT_FEATURES
from rllib_tactical.domain.types import NUM_ACTIONS, NUM_FEATURES, WINDOW

OBSERVATION_SPACE = spaces.Box(-1.0, 1.0, (WINDOW, NUM_FEATURES), np.float32)
"""The network input: every column is a flag, a share or a tanh."""


STATE_SPACE = spaces.Box(
    -np.inf,
    np.inf,
    (WINDOW * NUM_FEATURES + len(ACCOUNT_FEATURES) + len(MARKET_FEATURES),),
    np.float32,
)
"""The global state, flat: what the centralized critic sees."""

ACTION_SPACE: spaces.Discrete[np.int64] = spaces.Discrete(NUM_ACTIONS)
