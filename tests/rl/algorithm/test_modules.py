"""The actors and the critic as RLlib holds them."""

import numpy as np
import pytest
import torch
from ray.rllib.core.columns import Columns

from rllib_tactical.bundle.networks import Standardization
from rllib_tactical.config.schema import ModelConfig, TacticalConfig
from rllib_tactical.domain.types import AGENTS
from rllib_tactical.errors import (
    ConfigError,
)
from rllib_tactical.rl.algorithm.config import module_spec
from rllib_tactical.rl.names import CRITIC, STATE


@pytest.fixture
def modules():
    torch.manual_seed(0)
    return module_spec(TacticalConfig(), Standardization.identity()).build()


def test_actors_have_no_value_function_and_the_critic_no_inference_part(modules):
    for agent in AGENTS:
        assert not any("critic" in name for name, _ in modules[agent].named_parameters())
    assert modules[CRITIC].get_non_inference_attributes() == ["critic"]


def test_value_normalisation_tracks_the_targets_and_undoes_itself(modules):
    critic = modules[CRITIC]
    rng = np.random.default_rng(0)
    for _ in range(50):
        targets = 5 + 3 * rng.standard_normal((256, 3))
        critic.track_targets(targets.mean(0), (targets**2).mean(0))
    normalized = critic.normalize_targets(torch.from_numpy(targets).float())
    assert normalized.mean().abs() < 0.1
    assert (normalized.std() - 1).abs() < 0.1
    mean, std = critic.target_scale()
    torch.testing.assert_close(normalized * std + mean, torch.from_numpy(targets).float())


def test_values_are_denormalised(modules):
    critic = modules[CRITIC]
    inputs, state = torch.zeros(2, 60, 7), torch.zeros(2, 1, 13)
    before = critic.values(inputs, state)
    critic.track_targets(np.full(3, 7.0), np.full(3, 53.0))
    mean, std = critic.target_scale()
    torch.testing.assert_close((mean, std), (torch.full((3,), 7.0), torch.full((3,), 2.0)))
    torch.testing.assert_close(critic.values(inputs, state), before * std + mean)


def critic_of(**model):
    config = TacticalConfig(model=ModelConfig(**model))
    return module_spec(config, Standardization.identity()).build()[CRITIC]


def test_a_shared_head_gives_every_agent_the_same_value():
    values = critic_of(critic_heads="shared").values(torch.randn(3, 60, 7), torch.randn(3, 2, 13))
    assert (values == values[..., :1]).all()


def test_independent_critics_see_what_their_actors_see():
    """IPPO: no account, no market features, no weight in common."""
    critic = critic_of(critic="independent")
    inputs = torch.randn(3, 60, 7)
    one, other = (critic.values(inputs, torch.randn(3, 2, 13)) for _ in range(2))
    assert one.shape == (3, 2, 3)
    torch.testing.assert_close(one, other)
    assert (one[..., 0] != one[..., 1]).all()
    for agent in range(3):
        critic.zero_grad()
        critic.critic(inputs, torch.randn(3, 2, 13))[..., agent].sum().backward()
        reached = [
            any(p.grad is not None and bool(p.grad.any()) for p in own.parameters())
            for own in critic.critic.critics
        ]
        assert reached == [i == agent for i in range(3)]
    central = critic_of().values
    state = torch.randn(3, 2, 13)
    assert (central(inputs, state) != central(inputs, state + 1)).all()
    with pytest.raises(ConfigError, match="critic_heads must be per_agent"):
        critic_of(critic="independent", critic_heads="shared")


def test_dropout_is_off_where_values_are_read():
    critic = critic_of(dropout_rate=0.5)
    critic.train()
    inputs, state = torch.randn(3, 60, 7), torch.randn(3, 1, 13)
    torch.testing.assert_close(critic.values(inputs, state), critic.values(inputs, state))
    assert critic.training
    first, second = (critic.critic(inputs, state) for _ in range(2))
    assert (first != second).any()


def test_bfloat16_stays_near_float32():
    inputs, state = torch.rand(64, 60, 7), torch.rand(64, 2, 13)
    torch.manual_seed(0)
    exact = module_spec(TacticalConfig(), Standardization.identity()).build()
    config = TacticalConfig()
    training = type(config.training)(precision="bfloat16")
    reduced = module_spec(type(config)(training=training), Standardization.identity()).build()
    reduced.set_state(exact.get_state())
    for module, batch in (
        ("fvg", {Columns.OBS: inputs}),
        (CRITIC, {Columns.OBS: inputs, STATE: state}),
    ):
        one, other = exact[module].forward_train(batch), reduced[module].forward_train(batch)
        (key,) = one
        assert other[key].dtype == torch.float32
        assert not torch.equal(one[key], other[key])
        scale = one[key].abs().max()
        assert (one[key] - other[key]).abs().max() <= 0.02 * scale
        # what acts, and what values are read from, stays float32
    torch.testing.assert_close(
        exact["fvg"].forward_inference({Columns.OBS: inputs}),
        reduced["fvg"].forward_inference({Columns.OBS: inputs}),
    )
