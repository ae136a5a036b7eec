"""Learning: MAPPO on RLlib, the training run around it, and the Python API of both.

The names below load their modules when they are first used, so that importing this package, or a
module of it, loads neither Ray nor PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rllib_tactical.data.dataset import DataSource
    from rllib_tactical.rl.api import train
    from rllib_tactical.rl.extensions import register_network, register_reward
    from rllib_tactical.rl.training.callbacks import TrainingCallback, TrainingEnd, TrainingRun
    from rllib_tactical.rl.training.trainer import TrainingResult

__all__ = [
    "DataSource",
    "TrainingCallback",
    "TrainingEnd",
    "TrainingResult",
    "TrainingRun",
    "register_network",
    "register_reward",
    "train",
]

_MODULES: Final = {
    "DataSource": "rllib_tactical.data.dataset",
    "TrainingCallback": "rllib_tactical.rl.training.callbacks",
    "TrainingEnd": "rllib_tactical.rl.training.callbacks",
    "TrainingResult": "rllib_tactical.rl.training.trainer",
    "TrainingRun": "rllib_tactical.rl.training.callbacks",
    "register_network": "rllib_tactical.rl.extensions",
    "register_reward": "rllib_tactical.rl.extensions",
    "train": "rllib_tactical.rl.api",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
