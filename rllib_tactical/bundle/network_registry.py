"""The networks that an actor can have, by name. Loads no PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from rllib_tactical.registry import Registry

CONV: Final = "conv"
"""The actors' network of the specification: ``rllib_tactical.bundle.networks.Actor``."""

NetworkFactory = Callable[..., Any]
"""``(attention, temperature, standardization)`` to a ``torch.nn.Module``.

``attention``: seven initial weights of the features; ``temperature``: by which logits are divided;
``standardization``: ``Standardization`` or None. The module maps network inputs (N, 60, 7) float32
to logits / temperature (N, 3). What it needs beside its parameters must be a persistent buffer, so
that it travels with the weights; all are float32.
"""

NETWORKS: Final[Registry[NetworkFactory]] = Registry(
    "model.network", "rllib_tactical.networks", {CONV: "rllib_tactical.bundle.networks:Actor"}
)
