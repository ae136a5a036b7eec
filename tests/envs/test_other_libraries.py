"""Other libraries drive the environment: Stable-Baselines3 by SuperSuit, TorchRL, skrl.

They belong to the extra ``libraries``; without them these tests are skipped.
"""

from typing import Any

import numpy as np
import pytest

from envs.parallel import TacticalParallelEnv
from envs.spaces import STATE_SPACE
from rllib_tactical.domain.types import AGENTS
from tests.market import random_spec

pytestmark = [
    pytest.mark.slow,
    # theirs: it names the PettingZoo that it is tested with
    pytest.mark.filterwarnings("ignore:PettingZoo in TorchRL is tested:UserWarning"),
]
SPEC = random_spec(length=16)
KEYWORDS_OF_SKRL = (
    "learning_rate_scheduler",
    "observation_preprocessor",
    "state_preprocessor",
    "value_preprocessor",
)


def test_stable_baselines3_learns_on_copies_of_it():
    supersuit = pytest.importorskip("supersuit")
    sb3 = pytest.importorskip("stable_baselines3")
    env = supersuit.flatten_v0(TacticalParallelEnv(SPEC, seed=1))
    copies = supersuit.concat_vec_envs_v1(
        supersuit.pettingzoo_env_to_vec_env_v1(env), 2, base_class="stable_baselines3"
    )
    first = copies.reset()
    assert first.shape == (2 * len(AGENTS), 420)
    assert len({row.tobytes() for row in first}) == 2  # the agents of a copy see the same
    model = sb3.PPO("MlpPolicy", copies, n_steps=32, batch_size=64, n_epochs=1, device="cpu")
    before = model.policy.action_net.weight.detach().clone()
    model.learn(200)
    assert model.num_timesteps >= 200
    assert (model.policy.action_net.weight != before).any()


def test_torchrl_takes_its_specs_and_its_mappo_loss_takes_a_rollout():
    pytest.importorskip("torchrl")
    envs, utils, modules, multiagent, nn = (
        pytest.importorskip(name)
        for name in (
            "torchrl.envs",
            "torchrl.envs.utils",
            "torchrl.modules",
            "torchrl.objectives.multiagent",
            "tensordict.nn",
        )
    )
    torch = pytest.importorskip("torch")
    env = envs.PettingZooWrapper(
        TacticalParallelEnv(SPEC, seed=1),
        group_map={"agents": list(AGENTS)},
        use_mask=False,
        return_state=True,
        categorical_actions=True,
    )
    utils.check_env_specs(env)

    class Actor(torch.nn.Module):  # type: ignore[name-defined]
        def __init__(self):
            super().__init__()
            self.out = torch.nn.Linear(420, 3)

        def forward(self, observation):
            return self.out(observation.flatten(-2))

    class Critic(torch.nn.Module):  # type: ignore[name-defined]
        def __init__(self):
            super().__init__()
            self.out = torch.nn.Linear(STATE_SPACE.shape[0], len(AGENTS))

        def forward(self, state):
            return self.out(state)[..., None]

    actor = modules.ProbabilisticActor(
        nn.TensorDictModule(Actor(), [("agents", "observation")], [("agents", "logits")]),
        in_keys=[("agents", "logits")],
        out_keys=[("agents", "action")],
        distribution_class=torch.distributions.Categorical,
        return_log_prob=True,
        log_prob_key=("agents", "sample_log_prob"),
    )
    critic = nn.TensorDictModule(Critic(), ["state"], [("agents", "state_value")])
    with torch.no_grad():
        rollout = env.rollout(40, actor, break_when_any_done=False)
    assert rollout["state"].shape == (40, 433)
    assert int(rollout["next", "done"].sum()) == 2  # episodes of 16 bars
    loss = multiagent.MAPPOLoss(actor, critic)
    loss.set_keys(
        value=("agents", "state_value"),
        action=("agents", "action"),
        sample_log_prob=("agents", "sample_log_prob"),
        reward=("agents", "reward"),
        done=("agents", "done"),
        terminated=("agents", "terminated"),
    )
    loss.make_value_estimator(gamma=0.99, lmbda=0.95)
    found = loss(rollout)
    total = found["loss_objective"] + found["loss_critic"] + found["loss_entropy"]
    total.backward()
    grads = [p.grad for p in loss.parameters() if p.grad is not None]
    assert len(grads) == 4
    assert all(np.isfinite(grad.numpy()).all() and (grad != 0).any() for grad in grads)


def test_skrl_trains_its_mappo_on_it():
    pytest.importorskip("skrl")
    wrappers, memories, models, mappo, trainers = (
        pytest.importorskip(f"skrl.{name}")
        for name in (
            "envs.wrappers.torch",
            "memories.torch",
            "models.torch",
            "multi_agents.torch.mappo",
            "trainers.torch",
        )
    )
    torch = pytest.importorskip("torch")
    env = wrappers.wrap_env(TacticalParallelEnv(SPEC, seed=1), wrapper="pettingzoo", verbose=False)

    def spaces_of(agent):
        return {
            "observation_space": env.observation_space(agent),
            "state_space": env.state_space(agent),
            "action_space": env.action_space(agent),
            "device": env.device,
        }

    class Policy(models.CategoricalMixin, models.Model):  # type: ignore[name-defined]
        def __init__(self, agent):
            models.Model.__init__(self, **spaces_of(agent))
            models.CategoricalMixin.__init__(self)
            self.out = torch.nn.Linear(self.num_observations, self.num_actions)

        def compute(self, inputs, role):
            return self.out(inputs["observations"]), {}

    class Value(models.DeterministicMixin, models.Model):  # type: ignore[name-defined]
        def __init__(self, agent):
            models.Model.__init__(self, **spaces_of(agent))
            models.DeterministicMixin.__init__(self)
            self.out = torch.nn.Linear(self.num_states, 1)

        def compute(self, inputs, role):
            return self.out(inputs["states"]), {}

    rollouts, agents = 32, env.possible_agents
    networks: dict[str, dict[str, Any]] = {
        agent: {"policy": Policy(agent), "value": Value(agent)} for agent in agents
    }
    memory = {
        agent: memories.RandomMemory(memory_size=rollouts, num_envs=1, device=env.device)
        for agent in agents
    }
    learner = mappo.MAPPO(
        possible_agents=agents,
        models=networks,
        memories=memory,
        observation_spaces=env.observation_spaces,
        state_spaces=env.state_spaces,
        action_spaces=env.action_spaces,
        device=env.device,
        cfg={
            "rollouts": rollouts,
            "learning_epochs": 1,
            "experiment": {"write_interval": 0, "checkpoint_interval": 0},
            # theirs: it refuses settings that are empty for all agents together, its own defaults
            **{f"{name}_kwargs": {agent: {} for agent in agents} for name in KEYWORDS_OF_SKRL},
        },
    )
    weights = [
        value
        for pair in networks.values()
        for network in pair.values()
        for value in network.parameters()
    ]
    before = [value.detach().clone() for value in weights]
    settings = {
        "timesteps": 3 * rollouts,
        "headless": True,
        "disable_progressbar": True,
        "close_environment_at_exit": False,
    }
    trainers.SequentialTrainer(env=env, agents=learner, cfg=settings).train()
    assert len(weights) == 2 * 2 * len(agents)
    assert all((new != old).any() for new, old in zip(weights, before, strict=True))
    assert all(torch.isfinite(value).all() for value in weights)
