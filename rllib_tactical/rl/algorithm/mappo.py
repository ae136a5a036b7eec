"""RLlib's PPO with the monitor of training in its results and in its checkpoints."""

from __future__ import annotations

from typing import Any

from ray.rllib.algorithms.ppo import PPO

from rllib_tactical.rl.algorithm.convergence import Monitor, losses_of
from rllib_tactical.rl.names import ENDED_REWARDS, MONITOR


class Mappo(PPO):
    """PPO whose results have ``monitor``: convergence and trends; see ``Monitor``."""

    def setup(self, config: Any) -> None:
        """Set up as PPO does."""
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

    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return RLlib's state and the monitor's."""
        return {**super().get_state(*args, **kwargs), MONITOR: self.monitor.get_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take RLlib's state and the monitor's, if it is there."""
        super().set_state(state)
        if MONITOR in state:
            self.monitor.set_state(state[MONITOR])
