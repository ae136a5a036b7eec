"""Pre-train the actors: for each a network learns what trades bring, and becomes it.

A vote's logit is what its trade is expected to bring, in units of the preference temperature, which
is the policy that earns most when preferences are paid for by that temperature. So the actors start
with the votes of a regression, and training goes on from there.

Most of what a trade brings is noise that comes long after the bar. So the network also predicts
what the trade has brought after a few bars, where there is less of it (``HORIZONS``): what it sees
in the bars is found sooner. And it is the average of its weights on the way that becomes the actors
(Polyak and Juditsky, 1992), because the weights themselves follow the noise of each minibatch.

Each actor has a network of its own, which draws its own bars: where one of them takes noise for a
pattern, the others seldom do, and a trade needs more than one vote.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from rllib_tactical.bundle.networks import Actor
from rllib_tactical.domain.simulation.what_if import HORIZONS, TRADED_SIDES
from rllib_tactical.domain.types import AGENTS, NUM_FEATURES
from rllib_tactical.rl.algorithm.teacher import Teacher
from rllib_tactical.rl.algorithm.threads import ChainRunner

RATE: Final = 1e-3
BATCH: Final = 256
AVERAGE: Final = 0.995
"""Decay of the average of weights, per update; lower in the beginning."""
MAX_NORM: Final = 0.5

LONG, SHORT, BETTER, EARLY = 0, 1, 2, 3
"""Outputs of the network while it is pre-trained: the trade of each side, of the better one, and
from EARLY on what the trade of each side has brought by each horizon."""


def pretrain(
    actors: Mapping[str, nn.Module],
    teacher: Teacher,
    bars: float,
    temperature: float,
    aggressive: float,
    mirror: bool,
    seed: int,
    threads: ChainRunner | None = None,
) -> None:
    """Train a network for each actor by regression and make the actor's votes of its outputs.

    It begins with the actor's weights, but looks at all features alike. Each actor keeps its own
    attention weights, and its first convolution makes up for them. The rate falls to zero.

    Args:
        actors: by agent, changed in place; all are ``Actor``.
        teacher: the outcomes.
        bars: how many are seen by all actors together, drawn anew for each update.
        temperature: reward that is worth one unit of a vote's logit.
        aggressive: size of an aggressive order as a share of an executed one.
        mirror: whether up and down are taken as alike.
        seed: of the draws.
        threads: compute several actors at a time, with the results of one after the other.
    """
    updates = max(1, round(bars / BATCH / len(actors)))
    # made here, one after the other, because the weights of their outputs are drawn
    networks = {agent: _regressor(actor) for agent, actor in actors.items()}

    def learn(agent: str) -> None:
        draws = np.random.default_rng([seed, AGENTS.index(agent)])
        learned = _regression(networks[agent], teacher, updates, mirror, draws)
        _become(actors[agent], learned, agent == "entry", temperature, aggressive)

    steps = [[partial(learn, agent)] for agent in actors]
    if threads is not None:
        threads.run(steps)
        return
    for (step,) in steps:
        step()


def _regression(
    network: Actor, teacher: Teacher, updates: int, mirror: bool, draws: np.random.Generator
) -> nn.Module:
    """Train a network and return the average of its weights."""
    device = next(network.parameters()).device
    average = AveragedModel(network, avg_fn=_averaged)
    optimizer = torch.optim.Adam(network.parameters(), RATE, fused=True)
    for k in range(updates):
        lesson = teacher.lesson(draws.integers(0, len(teacher), BATCH))
        if mirror:
            lesson = lesson.mirrored(draws.random(BATCH) < 0.5)
        for group in optimizer.param_groups:
            group["lr"] = RATE * (1.0 - k / updates)
        outputs = network(torch.from_numpy(lesson.inputs).to(device))
        returns = torch.from_numpy(lesson.returns.astype(np.float32)).to(device)
        early = torch.from_numpy(lesson.early).to(device)
        opened = torch.from_numpy(lesson.opened).to(device)
        optimizer.zero_grad(set_to_none=True)
        loss = _loss(outputs, returns, opened) + _early_loss(outputs, early, opened)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), MAX_NORM)
        optimizer.step()
        average.update_parameters(network)
    learned: nn.Module = average.module
    return learned


def _regressor(actor: nn.Module) -> Actor:
    """Return a copy of an actor's network with equal attention, no temperature, more outputs."""
    assert isinstance(actor, Actor)
    network = Actor((1.0 / NUM_FEATURES,) * NUM_FEATURES, 1.0)
    own = {"attention": network.attention, "temperature": network.temperature}
    network.load_state_dict({**actor.state_dict(), **own})
    outputs = EARLY + len(TRADED_SIDES) * len(HORIZONS)
    network.out = nn.Linear(network.out.in_features, outputs)
    nn.init.orthogonal_(network.out.weight, gain=0.01)
    nn.init.zeros_(network.out.bias)
    return network.to(actor.attention.device)


def _averaged(average: Tensor, now: Tensor, count: Tensor | int) -> Tensor:
    """Return the average of weights after ``count`` updates and ``now``."""
    kept = min(AVERAGE, (1.0 + float(count)) / (10.0 + float(count)))
    return kept * average + (1.0 - kept) * now


def _loss(outputs: Tensor, returns: Tensor, opened: Tensor) -> Tensor:
    """Return the squared errors of the outcomes, and of that of the side that looks better."""
    of_sides, of_entry = returns[..., :2].mean(-1), returns[..., 2]
    better = (outputs[:, SHORT] > outputs[:, LONG]).long()[:, None]
    wrong = torch.where(opened, outputs[:, :BETTER] - of_sides, 0.0)
    chosen = outputs[:, BETTER] - of_entry.gather(1, better)[:, 0]
    chosen = torch.where(opened.gather(1, better)[:, 0], chosen, 0.0)
    return (wrong**2).sum(-1).mean() / 2 + (chosen**2).mean() / 2


def _early_loss(outputs: Tensor, early: Tensor, opened: Tensor) -> Tensor:
    """Return the squared errors of what trades have brought by each horizon, summed over them."""
    predicted = outputs[:, EARLY:].reshape(early.shape)
    wrong = torch.where(opened[..., None], predicted - early, 0.0)
    return (wrong**2).sum(dim=(1, 2)).mean() / 2


@torch.no_grad()
def _become(
    actor: nn.Module, network: nn.Module, entry: bool, temperature: float, aggressive: float
) -> None:
    """Give an actor the network's weights and its votes the logits of predicted outcomes."""
    assert isinstance(actor, Actor)
    assert isinstance(network, Actor)
    own, attention = actor.temperature.clone(), actor.attention.clone()
    attention = torch.where(attention == 0.0, network.attention, attention)
    seen = network.conv1.weight * (network.attention / attention)[:, None]
    kept = {"temperature": own, "attention": attention, "conv1.weight": seen}
    kept |= {name: value for name, value in actor.state_dict().items() if name.startswith("out.")}
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
