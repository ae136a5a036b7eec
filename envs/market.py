"""What an environment replays: one value that travels to every worker."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from gymnasium import spaces

from rllib_tactical.domain.pipeline import Rules
from rllib_tactical.domain.replay import EpisodeConfig, Replay
from rllib_tactical.domain.rewards import RewardConfig
from rllib_tactical.domain.tape import Split, Tape
from rllib_tactical.domain.types import NUM_ACTIONS, NUM_FEATURES, WINDOW

OBSERVATION_SPACE = spaces.Box(-1.0, 1.0, (WINDOW, NUM_FEATURES), np.float32)
"""The network input: every column is a flag, a share or a tanh."""

ACTION_SPACE: spaces.Discrete[np.int64] = spaces.Discrete(NUM_ACTIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketSpec:
    """A replay ready to be made: the tape, the split to draw episodes from, and the rules.

    ``train_confidence`` is the confidence with which votes count when a step gives none.
    """

    tape: Tape
    split: Split
    rules: Rules
    rewards: RewardConfig
    episodes: EpisodeConfig
    train_confidence: float

    def replay(self, num_accounts: int, seed: int | None = None, group_size: int = 1) -> Replay:
        """Make a replay of N episodes in groups that share their bars.

        Raises:
            DataError: the split is too short for one episode.
            ConfigError: the accounts do not fill whole groups.
        """
        return Replay(
            self.tape,
            self.split,
            self.rules,
            self.rewards,
            self.episodes,
            num_accounts,
            seed,
            group_size,
        )
