"""Batches of a known content, and algorithms whose learner takes them."""

import dataclasses

from rllib_tactical.bundle.networks import Standardization
from rllib_tactical.config.schema import ModelConfig, TacticalConfig
from rllib_tactical.config.training import TrainingConfig
from rllib_tactical.domain.types import AGENTS
from rllib_tactical.rl.names import CRITIC
from tests.market import random_spec
from tests.rl.segments import segment

SPEC = random_spec()
SCALE = Standardization((0.1,) * 7, (0.5,) * 7)
STEPS = 192


def configured(critic_heads="per_agent", **changes):
    training = TrainingConfig(
        actor_lr_end_factor=1.0,  # the loop by hand has no schedules
        steps_per_update=STEPS,
        batch_size=STEPS,  # one minibatch: shuffling changes nothing but the order of sums
        epochs=2,
        credit="sampled",
        num_envs=8,
        accounts_per_bar=4,
        num_env_runners=0,
        max_grad_norm=0.05,  # binds
        entropy_coef=0.03,
    )
    return TacticalConfig(
        training=dataclasses.replace(training, **changes),
        model=ModelConfig(hidden_sizes=(64, 32), critic_heads=critic_heads),
    )


def episodes_of(seed):
    """Return 192 steps in two groups of four accounts; one account goes bankrupt on the way."""
    first = segment(24, 400, accounts=4, seed=seed)
    first.terminated[9, 2] = True
    second = segment(24, 900, accounts=4, ended=True, seed=seed + 1)
    return [first, second]


def weights_of(algorithm):
    modules = [*AGENTS, CRITIC]
    return {m: dict(w) for m, w in algorithm.learner_group.get_weights(modules).items()}


def update(algorithm, seed):
    algorithm.learner_group.update(
        episodes=episodes_of(seed), num_epochs=2, minibatch_size=STEPS, timesteps={}
    )
