"""Weights on their way between checkpoint, learner and env runners."""

import numpy as np
import pytest

from rllib_tactical.domain.types import AGENTS
from rllib_tactical.rl.algorithm.config import build_config
from rllib_tactical.rl.algorithm.weights import actor_weights_of
from rllib_tactical.rl.sampling.market_ref import MarketHandle
from tests.rl.small import small_config

pytestmark = pytest.mark.ray


def test_an_iteration_learns_and_the_critic_stays_with_the_learner(prepared, ray_instance):
    config = small_config(num_env_runners=1)
    algorithm = build_config(
        config, MarketHandle(prepared.spec), prepared.standardization
    ).build_algo()
    try:
        before = actor_weights_of(algorithm)
        result = algorithm.train()
        after = actor_weights_of(algorithm)
        assert any((before[name] != after[name]).any() for name in before)
        assert result["env_runners"]["num_env_steps_sampled"] == 512
        held = algorithm.env_runner_group.foreach_env_runner(
            lambda runner: (sorted(runner.module.keys()), type(runner).__name__),
            local_env_runner=False,
        )
        assert held == [(sorted(AGENTS), "BatchedEnvRunner")]
        synced = algorithm.env_runner_group.foreach_env_runner(
            lambda runner: {
                f"{a}.{n.removeprefix('actor.')}": p.numpy()
                for a in runner.module.keys()  # noqa: SIM118 - not a dictionary
                for n, p in runner.module[a].state_dict().items()
            },
            local_env_runner=False,
        )[0]
        for name, value in after.items():
            np.testing.assert_array_equal(synced[name], value)
    finally:
        algorithm.stop()


def test_checkpoint_restores_actors_critic_and_optimizers(prepared, ray_instance, tmp_path):
    handle = MarketHandle(prepared.spec)
    algorithm = build_config(small_config(), handle, prepared.standardization).build_algo()
    algorithm.train()
    algorithm.save_to_path(str(tmp_path / "saved"))
    state = algorithm.learner_group.get_state()["learner"]
    algorithm.stop()
    fresh = build_config(small_config(), handle, prepared.standardization).build_algo()
    try:
        fresh.restore_from_path(str(tmp_path / "saved"))
        restored = fresh.learner_group.get_state()["learner"]
        assert set(state["rl_module"]) == {*AGENTS, "critic"}
        for module, values in state["rl_module"].items():
            for name, value in values.items():
                np.testing.assert_array_equal(restored["rl_module"][module][name], value)
        assert len(state["optimizer"]) == 4
        np.testing.assert_equal(restored["optimizer"], state["optimizer"])
    finally:
        fresh.stop()


def test_a_restored_run_samples_with_the_trained_weights(prepared, ray_instance, tmp_path):
    """Remote runners must not go on with the weights they were built with."""
    config = small_config(num_env_runners=1, actor_lr=1e-2)
    handle = MarketHandle(prepared.spec)
    algorithm = build_config(config, handle, prepared.standardization).build_algo()
    for _ in range(2):
        algorithm.train()
    algorithm.save_to_path(str(tmp_path / "saved"))
    trained = actor_weights_of(algorithm)
    algorithm.stop()
    fresh = build_config(config, handle, prepared.standardization, resumed_at=2).build_algo()
    try:
        fresh.restore_from_path(str(tmp_path / "saved"))
        held = fresh.env_runner_group.foreach_env_runner(
            lambda runner: {
                f"{agent}.{name.removeprefix('actor.')}": value.numpy()
                for agent in AGENTS
                for name, value in runner.module[agent].state_dict().items()
            },
            local_env_runner=False,
        )
        for name, value in trained.items():
            np.testing.assert_array_equal(held[0][name], value)
    finally:
        fresh.stop()


def test_one_component_of_a_checkpoint_is_restored(prepared, ray_instance, tmp_path):
    """An actor alone, then the critic alone; the runner gets the actor and keeps the others."""
    config, handle = small_config(actor_lr=1e-2), MarketHandle(prepared.spec)
    algorithm = build_config(config, handle, prepared.standardization).build_algo()
    try:
        first = weights_of(algorithm)
        algorithm.train()
        saved = algorithm.save_to_path(str(tmp_path / "saved"))
        trained = weights_of(algorithm)
        algorithm.train()
        expected = weights_of(algorithm)
        for module in ("fvg", "critic"):
            component = f"learner_group/learner/rl_module/{module}"
            algorithm.restore_from_path(f"{saved}/{component}", component=component)
            expected[module] = trained[module]
            np.testing.assert_equal(weights_of(algorithm), expected)
            assert any(
                (first[module][name] != trained[module][name]).any() for name in first[module]
            )
        held = algorithm.env_runner.module["fvg"].state_dict()
        np.testing.assert_equal({n: v.numpy() for n, v in held.items()}, trained["fvg"])
        part = algorithm.get_state(components="learner_group/learner/rl_module/entry")
        assert "monitor" not in part
        assert "random" not in part["learner_group"]["learner"]
        assert list(part["learner_group"]["learner"]["rl_module"]) == ["entry"]
        assert "random" in algorithm.get_state()["learner_group"]["learner"]
    finally:
        algorithm.stop()


def weights_of(algorithm):
    """Return all weights of the learner by module, as copies."""
    return {
        module: {name: np.array(value) for name, value in weights.items()}
        for module, weights in algorithm.learner_group.get_weights().items()
    }
