"""The networks, as plain PyTorch: three actors and the centralized critic. No Ray here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from rllib_tactical.bundle.network_registry import CONV, NETWORKS
from rllib_tactical.domain.preconditions import require_shape
from rllib_tactical.domain.types import (
    AGENTS,
    NUM_ACTIONS,
    NUM_AGENTS,
    NUM_FEATURES,
    WINDOW,
    Float32Array,
)
from rllib_tactical.errors import BundleError, ConfigError

POOLED = 16


@dataclass(frozen=True, slots=True)
class Standardization:
    """Mean and standard deviation (7,) of the network input, estimated on training bars only."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def identity(cls) -> Standardization:
        """Return the standardization that changes nothing."""
        return cls((0.0,) * NUM_FEATURES, (1.0,) * NUM_FEATURES)

    @classmethod
    def estimate(cls, inputs: Float32Array) -> Standardization:
        """Estimate from network inputs (N, 60, 7); a constant feature keeps its scale.

        Raises:
            ArrayError: another shape, or not floating.
        """
        require_shape(inputs, ("N", WINDOW, NUM_FEATURES), np.floating, "inputs")
        flat = np.asarray(inputs, dtype=np.float64).reshape(-1, NUM_FEATURES)
        std = flat.std(axis=0)
        return cls(
            tuple(flat.mean(axis=0).tolist()), tuple(np.where(std > 1e-6, std, 1.0).tolist())
        )


def pooling_matrix() -> Tensor:
    """Return the (60, 16) matrix that averages as AdaptiveAvgPool1d(16) does over 60 steps.

    As a matrix product it exports to ONNX, which the adaptive pooling does not.
    """
    matrix = torch.zeros(WINDOW, POOLED)
    for i in range(POOLED):
        start, stop = i * WINDOW // POOLED, -(-(i + 1) * WINDOW // POOLED)
        matrix[start:stop, i] = 1.0 / (stop - start)
    return matrix


class Actor(nn.Module):
    """One agent's policy: (N, 60, 7) network input to (N, 3) logits / temperature.

    Features x attention weights -> Conv1d 7->32 -> ReLU -> Conv1d 32->64 -> ReLU -> average pool
    to 16 -> 1024->256->128->3. Attention weights are relative to a uniform 1/7, so that with any
    weights that sum to one the input keeps its scale. The standardization and the
    temperature are buffers: they belong to the model and travel with its weights.
    """

    mean: Tensor
    std: Tensor
    temperature: Tensor
    pool: Tensor

    def __init__(
        self,
        attention: tuple[float, ...],
        temperature: float,
        standardization: Standardization | None = None,
    ) -> None:
        super().__init__()
        scale = standardization or Standardization.identity()
        self.register_buffer("mean", torch.tensor(scale.mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(scale.std, dtype=torch.float32))
        self.register_buffer("temperature", torch.tensor(temperature, dtype=torch.float32))
        self.register_buffer("pool", pooling_matrix(), persistent=False)
        self.attention = nn.Parameter(torch.tensor(attention, dtype=torch.float32))
        self.conv1 = nn.Conv1d(NUM_FEATURES, 32, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(32, 64, kernel_size=3, padding=1)
        self.fc1 = nn.Linear(64 * POOLED, 256)
        self.fc2 = nn.Linear(256, 128)
        self.out = nn.Linear(128, NUM_ACTIONS)
        nn.init.orthogonal_(self.out.weight, gain=0.01)  # near-uniform first policy
        nn.init.zeros_(self.out.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits / temperature (N, 3)."""
        x = ((inputs - self.mean) / self.std).transpose(1, 2)
        # a weight on a feature is a weight on the first convolution's inputs
        weight = self.conv1.weight * (NUM_FEATURES * self.attention)[:, None]
        x = torch.relu(nn.functional.conv1d(x, weight, self.conv1.bias, padding=1))
        x = torch.relu(self.conv2(x)) @ self.pool
        x = torch.relu(self.fc1(x.flatten(1)))
        x = torch.relu(self.fc2(x))
        logits: Tensor = self.out(x)
        return logits / self.temperature


class ActorStack(nn.Module):
    """The three actors side by side: (N, 60, 7) to (N, 3 agents, 3 actions)."""

    def __init__(self, actors: Sequence[nn.Module]) -> None:
        super().__init__()
        self.actors = nn.ModuleList(actors)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits / temperature (N, 3, 3), agents in the order fvg, momentum, entry."""
        return torch.stack([actor(inputs) for actor in self.actors], dim=1)


class Critic(nn.Module):
    """The centralized critic: the global state to one value per agent (or one for all).

    Args:
        account_features: number of account features beside the flattened matrix.
        hidden: widths of the hidden layers.
        dropout: probability of dropping a hidden unit while training.
        shared_head: one V(s) for all agents instead of one value per agent.
        standardization: of the matrix's columns.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        account_features: int,
        hidden: tuple[int, ...],
        dropout: float,
        shared_head: bool,
        standardization: Standardization | None = None,
    ) -> None:
        super().__init__()
        scale = standardization or Standardization.identity()
        self.register_buffer("mean", torch.tensor(scale.mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(scale.std, dtype=torch.float32))
        layers: list[nn.Module] = []
        width = WINDOW * NUM_FEATURES + account_features
        for size in hidden:
            layers += [nn.Linear(width, size), nn.ReLU()]
            if dropout > 0.0:
                layers.append(nn.Dropout(dropout))
            width = size
        self.body = nn.Sequential(*layers)
        self.heads = nn.Linear(width, 1 if shared_head else NUM_AGENTS)
        nn.init.orthogonal_(self.heads.weight, gain=1.0)
        nn.init.zeros_(self.heads.bias)

    def forward(self, inputs: Tensor, account: Tensor) -> Tensor:
        """Return normalized values (N, K, 3) of K accounts on each of N bars.

        Args:
            inputs: matrices (N, 60, 7).
            account: account and market features (N, K, F) of the accounts on each bar.
        """
        weight, bias = self.body[0].parameters()
        matrix = ((inputs - self.mean) / self.std).flatten(1)
        # the first layer on [matrix, account]; the matrix's share is the same for all K accounts
        split = matrix.shape[1]
        of_bar = nn.functional.linear(matrix, weight[:, :split], bias)
        of_account = nn.functional.linear(account, weight[:, split:])
        values: Tensor = self.heads(self.body[1:](of_bar.unsqueeze(1) + of_account))
        return values.expand(-1, -1, NUM_AGENTS)


def make_actor(
    network: str,
    attention: tuple[float, ...] = (0.0,) * NUM_FEATURES,
    temperature: float = 1.0,
    standardization: Standardization | None = None,
) -> nn.Module:
    """Return an untrained actor of a network that ``NETWORKS`` has.

    Raises:
        BundleError: no network of that name is registered.
    """
    try:
        actor: nn.Module = NETWORKS.get(network)(attention, temperature, standardization)
    except ConfigError as error:
        raise BundleError(f"network {network!r} is not registered: {error}") from error
    return actor


def actor_stack_from_weights(weights: dict[str, Float32Array], network: str = CONV) -> ActorStack:
    """Build the three actors from a bundle's weights, named ``agent.parameter``.

    Raises:
        BundleError: the network is not registered; a weight is missing, superfluous or of another
            shape.
    """
    stack = ActorStack([make_actor(network) for _ in AGENTS])
    places = {agent: f"actors.{i}" for i, agent in enumerate(AGENTS)}
    named = {}
    for name, value in weights.items():
        agent, _, rest = name.partition(".")
        named[f"{places.get(agent, agent)}.{rest}"] = torch.from_numpy(np.array(value))
    try:
        stack.load_state_dict(named)
    except RuntimeError as error:
        raise BundleError(f"the weights do not fit the actors: {error}") from error
    return stack.eval()


def actor_weights(agent: str, actor: nn.Module) -> dict[str, Float32Array]:
    """Return one actor's weights and buffers as float32 arrays named ``agent.parameter``."""
    return {
        f"{agent}.{name}": value.detach().cpu().numpy().astype(np.float32)
        for name, value in actor.state_dict().items()
    }
