"""The learner against MAPPO written by hand: the same batch must give the same weights."""

import numpy as np
import pytest
import torch

from rllib_tactical.bench.plain_mappo import PlainMappo, Rollout
from rllib_tactical.domain.types import AGENTS
from rllib_tactical.rl.names import CRITIC
from tests.rl.algorithm.batches import (
    SCALE,
    SPEC,
    configured,
    episodes_of,
    update,
    weights_of,
)

pytestmark = pytest.mark.ray


def rollout_of(episodes):
    """Return the same steps as one column, which the plain loop walks through step by step."""
    parts = [
        part for whole in episodes for k in range(whole.accounts) for part in whole.by_account(k)
    ]
    cut = np.concatenate([np.arange(len(part)) == len(part) - 1 for part in parts])

    def column(name, stop=None):
        return np.concatenate([getattr(part, name)[:stop] for part in parts])

    rewards = column("rewards").astype(np.float64)
    return Rollout(
        t=column("t", -1)[:, None].astype(np.int64),
        account=column("account", -1),
        actions=column("actions").astype(np.int64),
        logp=column("logp"),
        rewards=rewards,
        terminated=column("terminated"),
        cut=cut[:, None],
        next_t=np.concatenate([part.t[1:] for part in parts])[:, None].astype(np.int64),
        next_account=np.concatenate([part.account[1:] for part in parts]),
    )


def plain_of(config, weights):
    plain = PlainMappo(config, SPEC, SCALE)
    for i, agent in enumerate(AGENTS):
        plain.actors[i].load_state_dict(under("actor.", weights[agent]))
    plain.critic.load_state_dict(under("critic.", weights[CRITIC]))
    return plain


def under(prefix, weights):
    return {
        name.removeprefix(prefix): torch.as_tensor(value)
        for name, value in weights.items()
        if name.startswith(prefix)
    }


def largest_difference(plain, weights):
    networks = {**dict(zip(AGENTS, plain.actors, strict=True)), CRITIC: plain.critic}
    return max(
        float((value - torch.as_tensor(weights[module][f"{prefix}.{name}"])).abs().max())
        for module, network in networks.items()
        for prefix in ["critic" if module == CRITIC else "actor"]
        for name, value in network.state_dict().items()
    )


@pytest.mark.parametrize(
    ("learners", "heads"), [(0, "per_agent"), (0, "shared"), (1, "per_agent"), (2, "per_agent")]
)
def test_updates_equal_those_written_by_hand(build, learners, heads):
    """GAE, normalization, both losses, clipping by module and Adam, over three batches.

    With two learners the statistics and gradients come from two shards of each batch.
    """
    config = configured(heads, num_learners=learners)
    algorithm = build(config)
    before = weights_of(algorithm)
    plain = plain_of(config, before)
    assert largest_difference(plain, before) == 0.0
    for seed in (1, 2, 3):
        update(algorithm, seed)
        plain.update(rollout_of(episodes_of(seed)))
    after = weights_of(algorithm)
    assert largest_difference(plain, before) > 1e-3
    assert largest_difference(plain, after) < 1e-5
    scale = [torch.as_tensor(after[CRITIC][name]) for name in ("moment1", "moment2")]
    weight = after[CRITIC]["moment_weight"]
    np.testing.assert_allclose(weight, plain.weight, rtol=1e-6)
    np.testing.assert_allclose(scale[0], plain.moment1, atol=1e-6)
    np.testing.assert_allclose(scale[1], plain.moment2, atol=1e-6)


def test_a_restored_learner_goes_on_with_the_same_critic(build, tmp_path):
    """Its weights, its moments and its optimizer: the next update of both is the same."""
    first = build(configured())
    update(first, 1)
    first.save_to_path(str(tmp_path / "saved"))
    second = build(configured())
    second.restore_from_path(str(tmp_path / "saved"))
    for algorithm in (first, second):
        torch.manual_seed(0)
        update(algorithm, 2)
    one, other = weights_of(first), weights_of(second)
    assert set(one[CRITIC]) >= {"moment1", "moment2", "moment_weight"}
    for module, weights in one.items():
        for name, value in weights.items():
            np.testing.assert_array_equal(value, other[module][name], err_msg=f"{module}.{name}")


def test_bfloat16_takes_nearly_the_steps_of_float32(build):
    """The change of all weights over three batches: within a cosine of 0.9, its length to 5%."""
    moves = []
    for precision in ("float32", "bfloat16"):
        algorithm = build(configured(precision=precision))
        before = weights_of(algorithm)
        for seed in (1, 2, 3):
            update(algorithm, seed)
        after = weights_of(algorithm)
        moves.append(
            {
                module: np.concatenate([np.ravel(after[module][n] - w[n]) for n in w])
                for module, w in before.items()
            }
        )
    for module, exact in moves[0].items():
        reduced = moves[1][module]
        assert (exact != reduced).any()
        assert exact @ reduced > 0.9 * np.linalg.norm(exact) * np.linalg.norm(reduced), module
        np.testing.assert_allclose(np.linalg.norm(reduced), np.linalg.norm(exact), rtol=0.05)
