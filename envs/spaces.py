"""Observation and action spaces of each agent."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from rllib_tactical.domain.types import NUM_ACTIONS, NUM_FEATURES, WINDOW

OBSERVATION_SPACE = spaces.Box(-1.0, 1.0, (WINDOW, NUM_FEATURES), np.float32)
"""The network input: every column is a flag, a share or a tanh."""


ACTION_SPACE: spaces.Discrete[np.int64] = spaces.Discrete(NUM_ACTIONS)
