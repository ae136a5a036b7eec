import numpy as np
import pytest
import torch
from torch import nn

from rllib_tactical.bundle.networks import (
    Actor,
    ActorStack,
    Critic,
    Standardization,
    actor_stack_from_weights,
    pooling_matrix,
)
from rllib_tactical.errors import BundleError
from tests.actors import untrained_weights, weights_of
from tests.wrong_arrays import assert_wrong_arrays_are_refused


def test_pooling_matrix_is_the_adaptive_average_pool():
    x = torch.randn(3, 64, 60)
    torch.testing.assert_close(x @ pooling_matrix(), nn.AdaptiveAvgPool1d(16)(x))


def test_actor_has_the_specified_layers():
    shapes = {name: tuple(p.shape) for name, p in Actor((0.1,) * 7, 1.0).named_parameters()}
    assert shapes["attention"] == (7,)
    assert shapes["conv1.weight"] == (32, 7, 3)
    assert shapes["conv2.weight"] == (64, 32, 3)
    assert shapes["fc1.weight"] == (256, 1024)
    assert shapes["fc2.weight"] == (128, 256)
    assert shapes["out.weight"] == (3, 128)


def test_temperature_divides_the_logits():
    torch.manual_seed(0)
    warm, cold = Actor((0.1,) * 7, 2.0), Actor((0.1,) * 7, 1.0)
    cold.load_state_dict({**warm.state_dict(), "temperature": torch.tensor(1.0)})
    x = torch.randn(2, 60, 7)
    torch.testing.assert_close(warm(x) * 2, cold(x))


def test_a_feature_without_attention_does_not_matter():
    actor = Actor((0.0, *(0.1,) * 6), 1.0)
    x = torch.randn(2, 60, 7)
    y = x.clone()
    y[:, :, 0] += 5.0
    torch.testing.assert_close(actor(x), actor(y))


def test_first_policy_is_near_uniform():
    logits = Actor((1 / 7,) * 7, 1.0)(torch.randn(64, 60, 7))
    assert logits.softmax(-1).sub(1 / 3).abs().max() < 0.05


def test_standardisation_is_estimated_per_feature():
    rng = np.random.default_rng(0)
    inputs = rng.normal(3.0, 2.0, (500, 60, 7)).astype(np.float32)
    inputs[:, :, 4] = 1.0
    scale = Standardization.estimate(inputs)
    assert scale.mean[0] == pytest.approx(3.0, abs=0.05)
    assert scale.std[0] == pytest.approx(2.0, abs=0.05)
    assert (scale.mean[4], scale.std[4]) == (1.0, 1.0)


def test_critic_values_every_account_on_a_bar_as_if_it_were_alone():
    torch.manual_seed(0)
    critic = Critic(13, (32, 16), 0.0, shared_head=False)
    inputs, account = torch.randn(4, 60, 7), torch.randn(4, 5, 13)
    together = critic(inputs, account)
    assert together.shape == (4, 5, 3)
    x = torch.cat([inputs.flatten(1), account[:, 2]], dim=-1)
    torch.testing.assert_close(together[:, 2], critic.heads(critic.body(x)))


def test_weights_survive_the_way_into_a_bundle_and_back():
    actors = [Actor((0.1,) * 7, 1.0 + i) for i in range(3)]
    stack, weights = ActorStack(actors), weights_of(actors)
    x = torch.randn(2, 60, 7)
    torch.testing.assert_close(actor_stack_from_weights(weights)(x), stack(x))


def test_wrong_weights_are_refused():
    weights = untrained_weights()
    missing = {name: value for name, value in weights.items() if name != "entry.out.bias"}
    with pytest.raises(BundleError, match="do not fit"):
        actor_stack_from_weights(missing)
    misshapen = weights | {"entry.out.bias": np.zeros(4, dtype=np.float32)}
    with pytest.raises(BundleError, match="do not fit"):
        actor_stack_from_weights(misshapen)
    with pytest.raises(BundleError, match="do not fit"):
        actor_stack_from_weights(weights | {"fourth.out.bias": np.zeros(3, dtype=np.float32)})


def test_standardization_refuses_wrong_arrays():
    assert_wrong_arrays_are_refused(Standardization.estimate, inputs=np.zeros((5, 60, 7)))
