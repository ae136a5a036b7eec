"""Carry a user's networks and rewards from the driver to the processes of a run.

A process of Ray imports the product's modules, not the user's script, so what was registered in the
driver travels by value with the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rllib_tactical.bundle.network_registry import NETWORKS
from rllib_tactical.domain.simulation.rewards import REWARDS
from rllib_tactical.registry import Registry

EXTENSIONS: Final = "extensions"
"""Key under which configurations of environments and learners hold them."""

_REGISTRIES: Final[dict[str, Registry[Any]]] = {"networks": NETWORKS, "rewards": REWARDS}

Extensions = Mapping[str, Mapping[str, Any]]

register_network: Final = NETWORKS.register
"""Decorator ``register_network(name)``: a network of the actors for ``model.network``."""

register_reward: Final = REWARDS.register
"""Decorator ``register_reward(name)``: a reward function for ``rewards.function``."""


def registered_extensions() -> Extensions:
    """Return what was registered in this process."""
    return {kind: registry.registered() for kind, registry in _REGISTRIES.items()}


def restore_extensions(extensions: Extensions) -> None:
    """Register in this process what another one has registered."""
    for kind, parts in extensions.items():
        _REGISTRIES[kind].restore(parts)
