"""Learning: MAPPO on RLlib, the training run around it, and the Python API of both.

The names below load their modules when they are first used, so that importing this package, or a
module of it, loads neither Ray nor PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rllib_tactical.data.dataset import DataSource
    from rllib_tactical.rl.algorithm.actor_critic import actor_critic_spec
    from rllib_tactical.rl.algorithm.config import build_config
    from rllib_tactical.rl.api import train
    from rllib_tactical.rl.export import export_algorithm
    from rllib_tactical.rl.extensions import register_network, register_reward
    from rllib_tactical.rl.sampling.market_env import MarketEnv
    from rllib_tactical.rl.sampling.market_ref import MarketHandle
    from rllib_tactical.rl.training.callbacks import TrainingCallback, TrainingEnd, TrainingRun
    from rllib_tactical.rl.training.market import prepare_market
    from rllib_tactical.rl.training.trainer import TrainingResult

__all__ = [
    "DataSource",
    "MarketEnv",
    "MarketHandle",
    "TrainingCallback",
    "TrainingEnd",
    "TrainingResult",
    "TrainingRun",
    "actor_critic_spec",
    "build_config",
    "export_algorithm",
    "prepare_market",
    "register_network",
    "register_reward",
    "train",
]

_MODULES: Final = {
    "DataSource": "rllib_tactical.data.dataset",
    "MarketEnv": "rllib_tactical.rl.sampling.market_env",
    "MarketHandle": "rllib_tactical.rl.sampling.market_ref",
    "TrainingCallback": "rllib_tactical.rl.training.callbacks",
    "TrainingEnd": "rllib_tactical.rl.training.callbacks",
    "TrainingResult": "rllib_tactical.rl.training.trainer",
    "TrainingRun": "rllib_tactical.rl.training.callbacks",
    "actor_critic_spec": "rllib_tactical.rl.algorithm.actor_critic",
    "build_config": "rllib_tactical.rl.algorithm.config",
    "export_algorithm": "rllib_tactical.rl.export",
    "prepare_market": "rllib_tactical.rl.training.market",
    "register_network": "rllib_tactical.rl.extensions",
    "register_reward": "rllib_tactical.rl.extensions",
    "train": "rllib_tactical.rl.api",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
