"""The market as an environment that RLlib makes from its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from envs.multi_agent import TacticalMultiAgentEnv
from envs.parallel import TacticalParallelEnv
from rllib_tactical.rl.extensions import EXTENSIONS, restore_extensions

MARKET: Final = "market"
"""Key in ``env_config``: the ``MarketHandle`` of what is replayed."""

RECORD_TO: Final = "record_to"
"""Key in ``env_config``: the folder for what is sampled, or None."""

OVERLAP: Final = "overlap"
"""Key in ``env_config``: 1 where runners sample while the learner learns, else 0."""

KEEPS_LOGP: Final = "keeps_logp"
"""Key in ``env_config``: whether log probabilities of votes are sent to the learner."""


class MarketEnv(TacticalMultiAgentEnv):
    """``TacticalMultiAgentEnv`` by its class, which a checkpoint finds again in any process.

    Args:
        context: ``env_config``, with ``market``, a ``MarketHandle``, and what a user has
            registered, if anything.
    """

    def __init__(self, context: Mapping[str, Any]) -> None:
        restore_extensions(context.get(EXTENSIONS, {}))
        super().__init__(TacticalParallelEnv(context[MARKET].open()))
