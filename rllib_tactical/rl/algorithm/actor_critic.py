"""Actors that have a critic of their own: for RLlib's PPO, APPO and IMPALA as they are."""

from __future__ import annotations

from typing import Any

from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.utils import make_target_network
from ray.rllib.core.rl_module.apis import (
    TARGET_NETWORK_ACTION_DIST_INPUTS,
    InferenceOnlyAPI,
    TargetNetworkAPI,
    ValueFunctionAPI,
)
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from torch import Tensor

from rllib_tactical.bundle.networks import Critic, Standardization
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.domain.types import AGENTS
from rllib_tactical.rl.algorithm.config import module_spec
from rllib_tactical.rl.algorithm.modules import ActorModule


class ActorCriticModule(ActorModule, InferenceOnlyAPI, ValueFunctionAPI, TargetNetworkAPI):
    """One agent's policy, and the value of what it sees: the matrix alone.

    RLlib's own learners ask their modules for a value function, and APPO's for a target network.
    """

    def setup(self) -> None:
        """Build the actor as ``ActorModule`` does, and the critic by ``hidden`` widths."""
        super().setup()
        config = self.model_config
        self.value = Critic(
            0, tuple(config["hidden"]), 0.0, True, Standardization(**config["standardisation"])
        )

    def get_non_inference_attributes(self) -> list[str]:
        """Name what env runners never need."""
        return ["value", "target_actor"]

    def compute_values(self, batch: dict[str, Any], embeddings: Any = None) -> Tensor:
        """Return values (N,)."""
        inputs = batch[Columns.OBS]
        values: Tensor = self.value(inputs, inputs.new_zeros((len(inputs), 1, 0)))
        return values[:, 0, 0]

    def make_target_networks(self) -> None:
        """Copy the actor."""
        self.target_actor = make_target_network(self.actor)

    def get_target_network_pairs(self) -> list[tuple[Any, Any]]:
        """Return the actor and its copy."""
        return [(self.actor, self.target_actor)]

    def forward_target(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return the logits of the actor's copy."""
        return {TARGET_NETWORK_ACTION_DIST_INPUTS: self.target_actor(batch[Columns.OBS])}


def actor_critic_spec(
    config: TacticalConfig, standardization: Standardization
) -> MultiRLModuleSpec:
    """Return the specification of three modules for RLlib's own algorithms, by agent.

    Their actors are those of our algorithm, so that a bundle can be made of them.

    Args:
        config: networks of the actors, hidden widths of the critics.
        standardization: of the network input, estimated on the training bars.
    """
    specs = module_spec(config, standardization).rl_module_specs
    for agent in AGENTS:
        specs[agent].module_class = ActorCriticModule
        specs[agent].model_config |= {"hidden": config.model.hidden_sizes}
    return MultiRLModuleSpec(rl_module_specs={agent: specs[agent] for agent in AGENTS})
