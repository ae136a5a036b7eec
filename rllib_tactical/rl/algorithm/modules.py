"""RLModules: the actors, and the centralized critic that only learners ever hold."""

from __future__ import annotations

from typing import Any

import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.learner import VF_LOSS_KEY
from ray.rllib.core.rl_module.apis import InferenceOnlyAPI
from ray.rllib.core.rl_module.apis.self_supervised_loss_api import SelfSupervisedLossAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from ray.rllib.evaluation.postprocessing import Postprocessing
from torch import Tensor, nn

from rllib_tactical.bundle.network_registry import CONV
from rllib_tactical.bundle.networks import Critic, Standardization, make_actor
from rllib_tactical.domain.types import NUM_AGENTS, FloatArray
from rllib_tactical.rl.names import STATE

MOMENT_DECAY = 0.99


class ActorModule(TorchRLModule):
    """One agent's policy. Its action distribution's inputs are logits / temperature."""

    def setup(self) -> None:
        """Build the actor from ``model_config``: network, attention, temperature, scale."""
        self.actor = make_actor(
            self.model_config.get("network", CONV),
            self.model_config["attention"],
            self.model_config["temperature"],
            Standardization(**self.model_config["standardisation"]),
        )

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return {Columns.ACTION_DIST_INPUTS: self.actor(batch[Columns.OBS])}

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        with reduced_precision(batch[Columns.OBS], self.model_config):
            logits = self.actor(batch[Columns.OBS])
        return {Columns.ACTION_DIST_INPUTS: logits.float()}


def reduced_precision(inputs: Tensor, model_config: dict[str, Any]) -> torch.autocast:
    """Return a context whose matrix products are bfloat16 when the configuration says so."""
    enabled = model_config["precision"] == "bfloat16"
    return torch.autocast(inputs.device.type, torch.bfloat16, enabled=enabled)


class CriticModule(TorchRLModule, InferenceOnlyAPI, SelfSupervisedLossAPI):
    """V(s) on the global state, one head per agent, with running normalization of its targets.

    Declared ``learner_only``; ``InferenceOnlyAPI`` keeps its weights out of the weight sync.
    """

    moment1: Tensor
    moment2: Tensor
    moment_weight: Tensor

    def setup(self) -> None:
        """Build the critic from ``model_config``."""
        self.critic = self.make_critic(Standardization(**self.model_config["standardisation"]))
        self.register_buffer("moment1", torch.zeros(NUM_AGENTS))
        self.register_buffer("moment2", torch.zeros(NUM_AGENTS))
        self.register_buffer("moment_weight", torch.zeros(()))

    def make_critic(self, standardization: Standardization) -> nn.Module:
        """Return the network: (N, 60, 7) and (N, K, F) to normalized values (N, K, 3)."""
        config = self.model_config
        return Critic(
            config["account_features"],
            tuple(config["hidden"]),
            config["dropout"],
            config["shared_head"],
            standardization,
        )

    def get_non_inference_attributes(self) -> list[str]:
        """Name what env runners never need: everything."""
        return ["critic"]

    def target_scale(self) -> tuple[Tensor, Tensor]:
        """Return the running mean and standard deviation (3,) of the value targets."""
        weight = self.moment_weight.clamp_min(1e-8)
        mean, square = self.moment1 / weight, self.moment2 / weight
        if self.model_config["shared_head"]:  # one V(s) has one scale
            mean = mean.mean().expand_as(mean)
            square = square.mean().expand_as(square)
        variance = square - mean**2
        known = self.moment_weight > 0
        std = torch.where(known, variance.clamp_min(1e-8).sqrt(), torch.ones_like(mean))
        return mean, std

    @torch.no_grad()
    def values(self, inputs: Tensor, state: Tensor) -> Tensor:
        """Return denormalized values (N, K, 3) of K accounts on each of N bars."""
        mean, std = self.target_scale()
        training = self.training
        self.eval()
        values: Tensor = self.critic(inputs, state) * std + mean
        self.train(training)
        return values

    @torch.no_grad()
    def track_targets(self, mean: FloatArray, mean_square: FloatArray) -> None:
        """Take a batch's mean and mean square (3,) of the value targets into the moments."""
        for moment, found in ((self.moment1, mean), (self.moment2, mean_square)):
            fresh = torch.from_numpy(found).to(moment)
            moment.mul_(MOMENT_DECAY).add_(fresh, alpha=1 - MOMENT_DECAY)
        self.moment_weight.mul_(MOMENT_DECAY).add_(1 - MOMENT_DECAY)

    def normalize_targets(self, targets: Tensor) -> Tensor:
        """Return value targets (..., 3) in units of the running moments."""
        mean, std = self.target_scale()
        return (targets - mean) / std

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        with reduced_precision(batch[Columns.OBS], self.model_config):
            values = self.critic(batch[Columns.OBS], batch[STATE])
        return {Columns.VF_PREDS: values.float()}

    def compute_self_supervised_loss(
        self,
        *,
        learner: Any,
        module_id: str,
        config: Any,
        batch: dict[str, Any],
        fwd_out: dict[str, Any],
        **kwargs: Any,
    ) -> Tensor:
        """Return the value loss: mean squared error of the normalized targets, all heads."""
        targets, values = batch[Postprocessing.VALUE_TARGETS], fwd_out[Columns.VF_PREDS]
        loss = torch.mean((values - targets) ** 2)
        wrong = (targets - values.detach()).reshape(-1, NUM_AGENTS)
        spread = targets.reshape(-1, NUM_AGENTS).var(0, unbiased=False).clamp_min(1e-8)
        explained = 1 - wrong.var(0, unbiased=False) / spread
        learner.metrics.log_dict(
            {VF_LOSS_KEY: loss.detach(), "vf_explained_var": explained.mean()},
            key=module_id,
            window=learner.updates_per_batch,
        )
        value_loss: Tensor = config.vf_loss_coeff * loss
        return value_loss
