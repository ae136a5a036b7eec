"""The same networks in stock RLlib: its env runner, minibatches and update loop."""

from __future__ import annotations

from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner

from rllib_tactical.bundle.networks import Standardization
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.rl.algorithm.config import build_config
from rllib_tactical.rl.algorithm.learner import MappoLearner
from rllib_tactical.rl.sampling.market_ref import MarketHandle


class StockUpdates(MappoLearner):
    """Our centralized critic and its loss, which RLlib lacks, in RLlib's own update loop."""

    configure_optimizers_for_module = PPOTorchLearner.configure_optimizers_for_module
    postprocess_gradients = PPOTorchLearner.postprocess_gradients
    apply_gradients = PPOTorchLearner.apply_gradients
    _create_iterator_if_necessary = PPOTorchLearner._create_iterator_if_necessary
    _set_slicing_by_batch_id = PPOTorchLearner._set_slicing_by_batch_id
    _log_steps_trained_metrics = PPOTorchLearner._log_steps_trained_metrics


def stock_config(
    config: TacticalConfig, market: MarketHandle, standardization: Standardization
) -> PPOConfig:
    """Return the PPOConfig with RLlib's MultiAgentEnvRunner and update loop."""
    stock: PPOConfig = build_config(config, market, standardization, runner="stock")
    return stock.training(learner_class=StockUpdates)
