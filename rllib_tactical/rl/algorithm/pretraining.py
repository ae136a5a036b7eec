"""Pre-train the actors: one network learns what trades bring, and becomes all three.

A vote's logit is what its trade is expected to bring, in units of the preference temperature, which
is the policy that earns most when preferences are paid for by that temperature. So the actors start
with the votes of a regression, and training goes on from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from rllib_tactical.bundle.networks import Actor
from rllib_tactical.domain.types import NUM_FEATURES
from rllib_tactical.rl.algorithm.teacher import Teacher

RATE: Final = 1e-3
BATCH: Final = 512
MAX_NORM: Final = 0.5

LONG, SHORT, BETTER = 0, 1, 2
"""Outputs of the network while it is pre-trained: the trade of each side, and of the better one."""


def pretrain(
    actors: Mapping[str, nn.Module],
    teacher: Teacher,
    bars: float,
    temperature: float,
    aggressive: float,
    mirror: bool,
    seed: int,
) -> None:
    """Train one network by regression and put it into all actors, with votes made of its outputs.

    It begins with the weights of the first actor, but looks at all features alike. Each actor keeps
    its own attention weights, and its first convolution makes up for them. The rate falls to zero.

    Args:
        actors: by agent, changed in place; all are ``Actor``.
        teacher: the outcomes.
        bars: how many are seen, drawn anew for each update.
        temperature: reward that is worth one unit of a vote's logit.
        aggressive: size of an aggressive order as a share of an executed one.
        mirror: whether up and down are taken as alike.
        seed: of the draws.
    """
    first = next(iter(actors.values()))
    device = next(first.parameters()).device
    network = _regressor(first).to(device)
    draws = np.random.default_rng(seed)
    optimizer = torch.optim.Adam(network.parameters(), RATE, fused=True)
    updates = max(1, round(bars / BATCH))
    for k in range(updates):
        lesson = teacher.lesson(draws.integers(0, len(teacher), BATCH))
        if mirror:
            lesson = lesson.mirrored(draws.random(BATCH) < 0.5)
        for group in optimizer.param_groups:
            group["lr"] = RATE * (1.0 - k / updates)
        outputs = network(torch.from_numpy(lesson.inputs).to(device))
        returns = torch.from_numpy(lesson.returns.astype(np.float32)).to(device)
        opened = torch.from_numpy(lesson.opened).to(device)
        optimizer.zero_grad(set_to_none=True)
        _loss(outputs, returns, opened).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), MAX_NORM)
        optimizer.step()
    for agent, actor in actors.items():
        _become(actor, network, agent == "entry", temperature, aggressive)


def _regressor(actor: nn.Module) -> Actor:
    """Return a copy of an actor's network with equal attention and no temperature."""
    assert isinstance(actor, Actor)
    network = Actor((1.0 / NUM_FEATURES,) * NUM_FEATURES, 1.0)
    own = {"attention": network.attention, "temperature": network.temperature}
    network.load_state_dict({**actor.state_dict(), **own})
    return network


def _loss(outputs: Tensor, returns: Tensor, opened: Tensor) -> Tensor:
    """Return the squared errors of the outcomes, and of that of the side that looks better."""
    of_sides, of_entry = returns[..., :2].mean(-1), returns[..., 2]
    better = (outputs[:, SHORT] > outputs[:, LONG]).long()[:, None]
    wrong = torch.where(opened, outputs[:, :2] - of_sides, 0.0)
    chosen = outputs[:, BETTER] - of_entry.gather(1, better)[:, 0]
    chosen = torch.where(opened.gather(1, better)[:, 0], chosen, 0.0)
    return (wrong**2).sum(-1).mean() / 2 + (chosen**2).mean() / 2


@torch.no_grad()
def _become(
    actor: nn.Module, network: Actor, entry: bool, temperature: float, aggressive: float
) -> None:
    """Give an actor the network's weights and its votes the logits of predicted outcomes."""
    assert isinstance(actor, Actor)
    own, attention = actor.temperature.clone(), actor.attention.clone()
    attention = torch.where(attention == 0.0, network.attention, attention)
    seen = network.conv1.weight * (network.attention / attention)[:, None]
    kept = {"temperature": own, "attention": attention, "conv1.weight": seen}
    actor.load_state_dict({**network.state_dict(), **kept})
    rows = [(None, 0.0), (BETTER, 1.0), (BETTER, aggressive)]
    if not entry:
        rows = [(LONG, 1.0), (None, 0.0), (SHORT, 1.0)]
    for vote, (output, size) in enumerate(rows):
        scale = size * own / temperature
        for mine, learned in (
            (actor.out.weight, network.out.weight),
            (actor.out.bias, network.out.bias),
        ):
            mine[vote] = 0.0 if output is None else learned[output] * scale
