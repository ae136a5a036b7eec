"""A configuration whose training takes about a second an iteration."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.config.training import TrainingConfig
from rllib_tactical.domain.simulation.episodes import EpisodeConfig

SMALL: Final = TrainingConfig(
    iterations=2,
    steps_per_update=512,
    batch_size=256,
    epochs=1,
    credit="sampled",  # no seconds of pre-training; exact credit has tests of its own
    num_envs=32,
    accounts_per_bar=4,
    num_env_runners=0,
    episodes=EpisodeConfig(length=32),
    checkpoint_every=1,
)


def small_config(**changes: Any) -> TacticalConfig:
    """Return the configuration with changes to its training section."""
    return TacticalConfig(training=dataclasses.replace(SMALL, **changes))
