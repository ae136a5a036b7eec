"""RLlib's PPO with a monitor in its results, and checkpoints that go on exactly."""

from __future__ import annotations

from functools import partial
from typing import Any

from ray.rllib.algorithms.ppo import PPO

from rllib_tactical.rl.algorithm.convergence import Monitor, losses_of
from rllib_tactical.rl.algorithm.weights import send_weights
from rllib_tactical.rl.names import ENDED_REWARDS, MONITOR
from rllib_tactical.rl.sampling.env_runner import EPISODES, BatchedEnvRunner
from rllib_tactical.rl.sampling.market_env import MARKET, RECORD_TO


class Mappo(PPO):
    """PPO whose results have ``monitor``: convergence and trends; see ``Monitor``."""

    def setup(self, config: Any) -> None:
        """Set up as PPO does; a market of another Ray session is made again here, once for all."""
        env_config = self.config.env_config
        market = env_config[MARKET].renewed()
        if market is not env_config[MARKET]:  # from a checkpoint: the run's records are complete
            env_config |= {MARKET: market, RECORD_TO: None}
        self.monitor = Monitor()
        self.recorded_as: int | None = None
        """The iteration by which runners name their records; None where there are none."""
        super().setup(config)

    def step(self) -> dict[str, Any]:
        """Train one iteration and add what the monitor says of it."""
        result: dict[str, Any] = super().step()
        ended = result.get("env_runners", {}).pop(ENDED_REWARDS, [])
        if not isinstance(ended, list):  # RLlib makes NaN of a series without an item
            ended = []
        learners = result.get("learners", {})
        if "critic" in learners:  # nothing was learnt when every env runner was lost
            result[MONITOR] = self.monitor.update([float(r) for r in ended], losses_of(learners))
        return result

    def training_step(self) -> None:
        """Train as PPO does; runners that record are told the iteration, restarted ones too."""
        iteration = self.recorded_as
        if iteration is not None:
            self.env_runner_group.foreach_env_runner(
                lambda runner: runner.begin_iteration(iteration)
            )
        super().training_step()

    def get_state(
        self, components: Any = None, *, not_components: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Return RLlib's state, the monitor's, and the episodes of remote runners by index."""
        state: dict[str, Any] = super().get_state(
            components, not_components=not_components, **kwargs
        )
        if self._check_component(MONITOR, components, not_components):
            state[MONITOR] = self.monitor.get_state()
        if self._check_component(EPISODES, components, not_components):
            state[EPISODES] = dict(
                self.env_runner_group.foreach_env_runner(_episodes_of, local_env_runner=False)
            )
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Take RLlib's state, and what ``get_state`` adds if it is there."""
        super().set_state(state)
        if MONITOR in state:
            self.monitor.set_state(state[MONITOR])
        episodes = state.get(EPISODES, {})
        if episodes:
            self.env_runner_group.foreach_env_runner(
                partial(_go_on_with, episodes), local_env_runner=False
            )

    def restore_from_path(self, path: Any, *args: Any, **kwargs: Any) -> None:
        """Restore a checkpoint, runners included.

        RLlib restores remote env runners from the driver's own, idle one, whose weights are those
        of the first iteration, and from the learner, in no fixed order. So the learner's weights
        are sent once more, unconditionally, and waited for.
        """
        super().restore_from_path(path, *args, **kwargs)
        send_weights(self)


def _episodes_of(runner: Any) -> tuple[int, dict[str, Any] | None]:
    """Return a runner's index and its episodes; RLlib's own runners keep theirs to themselves."""
    episodes = runner.episodes() if isinstance(runner, BatchedEnvRunner) else None
    return runner.worker_index, episodes


def _go_on_with(episodes: dict[int, Any], runner: Any) -> None:
    if isinstance(runner, BatchedEnvRunner):
        runner.set_episodes(episodes.get(runner.worker_index))
