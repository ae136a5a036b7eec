"""Pre-training: what the three actors vote after one network has learned what trades bring."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from rllib_tactical.bundle.networks import Actor, Standardization
from rllib_tactical.domain.features.table import mirrored_inputs
from rllib_tactical.domain.simulation.what_if import HORIZONS
from rllib_tactical.domain.types import AGENTS
from rllib_tactical.rl.algorithm.pretraining import pretrain
from rllib_tactical.rl.algorithm.teacher import Lesson, Teacher
from rllib_tactical.rl.algorithm.threads import ChainRunner
from tests.market import random_spec

pytestmark = pytest.mark.slow

TEMPERATURES = {"fvg": 1.0, "momentum": 1.2, "entry": 0.8}
ATTENTION = {"fvg": (0.4,) * 6 + (0.0,), "momentum": (0.1, 0.5) * 3 + (0.3,), "entry": (0.2,) * 7}
TAU = 0.25
TEACHER = Teacher(random_spec(2_500), 0.99)
INPUTS = TEACHER.lesson(np.arange(0, len(TEACHER), 7)).inputs


def actors() -> dict[str, Actor]:
    torch.manual_seed(0)
    scale = Standardization.estimate(INPUTS)
    return {agent: Actor(ATTENTION[agent], TEMPERATURES[agent], scale) for agent in AGENTS}


def pretrained(teacher: Any, **changes: Any) -> dict[str, Actor]:
    made = actors()
    settings: dict[str, Any] = {
        "bars": 90_000,
        "aggressive": 1.25,
        "mirror": True,
        "seed": 1,
        **changes,
    }
    pretrain(made, teacher, temperature=TAU, **settings)
    return made


@dataclasses.dataclass
class Planted:
    """Bars whose trades bring half of the sign of the last momentum, less on one side if asked."""

    opened: tuple[bool, bool] = (True, True)
    short: float = 1.0

    def __len__(self) -> int:
        return 2_000

    def lesson(self, rows: np.ndarray) -> Lesson:
        lesson = TEACHER.lesson(rows % len(TEACHER))
        way = np.sign(lesson.inputs[:, -1, 5])
        brings = np.stack([0.5 * way, -0.5 * self.short * way], axis=1)
        opened = np.tile(self.opened, (len(rows), 1))
        returns = np.where(opened, brings, -9.0)[..., None]
        early = np.repeat(returns, len(HORIZONS), axis=2).astype(np.float32)
        return dataclasses.replace(
            lesson, opened=opened, returns=np.repeat(returns, 3, axis=2), early=early
        )


@pytest.fixture(scope="module")
def learned() -> dict[str, Actor]:
    return pretrained(Planted())


def logits(actor: Actor, inputs: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        found: np.ndarray = actor(torch.from_numpy(inputs)).numpy()
    return found


def test_logits_are_what_trades_are_expected_to_bring(learned: dict[str, Actor]) -> None:
    long, hold, short = TAU * logits(learned["fvg"], INPUTS).T
    assert not hold.any()
    way = np.sign(INPUTS[:, -1, 5])
    clear = np.abs(INPUTS[:, -1, 5]) > 0.02
    np.testing.assert_allclose(long[clear].mean(where=way[clear] > 0), 0.5, atol=0.2)
    np.testing.assert_allclose(short[clear].mean(where=way[clear] > 0), -0.5, atol=0.2)
    assert np.corrcoef(long, way)[0, 1] > 0.8


def test_fvg_and_momentum_find_the_same_and_entry_the_better_side(
    learned: dict[str, Actor],
) -> None:
    """Whatever an actor's own temperature and attention, which stay; each has its own network."""
    votes = {agent: logits(actor, INPUTS) for agent, actor in learned.items()}
    assert np.corrcoef(votes["momentum"][:, 0], votes["fvg"][:, 0])[0, 1] > 0.8
    assert np.abs(votes["momentum"] - votes["fvg"]).max() > 0.01
    wait, execute, aggressive = votes["entry"].T
    assert not wait.any()
    np.testing.assert_allclose(aggressive, 1.25 * execute, atol=1e-4)
    better = votes["fvg"][:, [0, 2]].max(axis=1)
    assert (execute > 0).mean() > 0.9
    np.testing.assert_allclose(execute.mean(), better.mean(), rtol=0.2)
    for agent, actor in learned.items():
        assert float(actor.temperature) == pytest.approx(TEMPERATURES[agent])
        own = np.array(ATTENTION[agent])
        kept = actor.attention.detach().numpy()
        np.testing.assert_allclose(kept[own > 0], own[own > 0])
        assert (kept > 0).all()  # a feature without attention would never be seen


@pytest.mark.parametrize("mirror", [True, False])
def test_mirroring_makes_long_and_short_alike(mirror: bool) -> None:
    """Shorts of this market never bring anything; half of the bars are turned upside down."""
    made = pretrained(Planted(short=0.0), mirror=mirror)
    up = INPUTS[INPUTS[:, -1, 5] > 0.02]
    long = TAU * logits(made["fvg"], up)[:, 0].mean()
    short = TAU * logits(made["fvg"], mirrored_inputs(up))[:, 2].mean()
    np.testing.assert_allclose([long, short], [0.2, 0.2] if mirror else [0.45, 0.0], atol=0.1)


def test_what_is_seen_early_is_found_where_the_whole_outcome_is_noise() -> None:
    """The whole outcome says next to nothing in so few bars; what has come early says it all."""

    class Noisy(Planted):
        def lesson(self, rows: np.ndarray) -> Lesson:
            lesson = super().lesson(rows)
            noise = np.random.default_rng(int(rows.sum())).normal(0.0, 3.0, lesson.returns.shape)
            return dataclasses.replace(lesson, returns=lesson.returns + noise)

    class Whole(Noisy):
        def lesson(self, rows: np.ndarray) -> Lesson:
            lesson = super().lesson(rows)
            return dataclasses.replace(lesson, early=np.zeros_like(lesson.early))

    way = np.sign(INPUTS[:, -1, 5])
    found = []
    for teacher in (Noisy(), Whole()):
        long, _, short = logits(pretrained(teacher)["fvg"], INPUTS).T
        found.append(np.corrcoef(long - short, way)[0, 1])
    assert found[0] > found[1] + 0.1


def test_a_seed_repeats_it_and_another_does_not() -> None:
    one, same, other = (pretrained(Planted(), bars=2_000, seed=seed) for seed in (1, 1, 2))
    torch.testing.assert_close(one["fvg"].out.weight, same["fvg"].out.weight, atol=0, rtol=0)
    assert not torch.equal(one["fvg"].out.weight, other["fvg"].out.weight)


def test_threads_change_nothing() -> None:
    alone = pretrained(Planted(), bars=3_000)
    threads = ChainRunner(2)
    try:
        together = pretrained(Planted(), bars=3_000, threads=threads)
    finally:
        threads.close()
    for agent, actor in alone.items():
        for name, value in actor.state_dict().items():
            assert torch.equal(value, together[agent].state_dict()[name]), (agent, name)


def test_an_outcome_that_is_not_known_is_not_learned() -> None:
    """Shorts of which no order fills: an outcome of -9 would be seen in their vote."""
    made = pretrained(Planted(opened=(True, False)), mirror=False)
    assert np.abs(TAU * logits(made["fvg"], INPUTS)[:, 2]).max() < 1.0
