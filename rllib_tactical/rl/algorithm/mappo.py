"""RLlib's PPO with a monitor in its results, sampling ahead, and exact checkpoints."""

from __future__ import annotations

from functools import partial
from typing import Any

from ray.rllib.algorithms.ppo import PPO
from ray.rllib.core import ALL_MODULES
from ray.rllib.execution.rollout_ops import synchronous_parallel_sample
from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    ENV_RUNNER_SAMPLING_TIMER,
    LEARNER_RESULTS,
    LEARNER_UPDATE_TIMER,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    NUM_MODULE_STEPS_TRAINED_LIFETIME,
    SYNCH_WORKER_WEIGHTS_TIMER,
    TIMERS,
)

from rllib_tactical.rl.algorithm.convergence import Monitor, losses_of
from rllib_tactical.rl.algorithm.weights import send_weights
from rllib_tactical.rl.names import ENDED_REWARDS, MONITOR
from rllib_tactical.rl.sampling.ahead import SAMPLES, Sampled, SamplesAhead
from rllib_tactical.rl.sampling.env_runner import EPISODES, BatchedEnvRunner
from rllib_tactical.rl.sampling.market_env import MARKET, OVERLAP, RECORD_TO


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
        self._overlap = bool(env_config.get(OVERLAP, 0))
        super().setup(config)
        replayed = market.digest, env_config.get("stage", 0)
        self._ahead = SamplesAhead(self.env_runner_group, replayed, self.config.sample_timeout_s)

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
        """Train as PPO does; with ``overlap`` the runners sample meanwhile for the next iteration.

        What they sample is then one update old when it is learnt from. The probability ratio is
        right, because the log probabilities are those of the weights that sampled.
        """
        with self.metrics.log_time((TIMERS, ENV_RUNNER_SAMPLING_TIMER)):
            episodes, counted = self._sampled()
            if not episodes:  # every env runner is lost
                return
            self.metrics.aggregate(counted, key=ENV_RUNNER_RESULTS)
        if self._overlap:
            self._name_records(ahead=1)
            self._ahead.ask()
        with self.metrics.log_time((TIMERS, LEARNER_UPDATE_TIMER)):
            results = self._update(episodes)
            self.metrics.aggregate(results, key=LEARNER_RESULTS)
        with self.metrics.log_time((TIMERS, SYNCH_WORKER_WEIGHTS_TIMER)):
            self.env_runner_group.sync_weights(
                from_worker_or_learner_group=self.learner_group,
                policies=set(results[0]) - {ALL_MODULES},
                inference_only=True,
                # of the weights before: a runner that still waited for them would miss these
                timeout_seconds=self.config.sample_timeout_s if self._overlap else 0.0,
            )

    def _sampled(self) -> Sampled:
        """Return what was sampled ahead, and sample what is missing of a batch."""
        episodes, counted = self._ahead.take()
        missing = self.config.total_train_batch_size - sum(map(_env_steps, episodes))
        if missing > 0:
            self._name_records()
            more, counted_more = synchronous_parallel_sample(
                worker_set=self.env_runner_group,
                max_env_steps=missing,
                sample_timeout_s=self.config.sample_timeout_s,
                _uses_new_env_runners=True,
                _return_metrics=True,
            )
            episodes, counted = episodes + more, counted + counted_more
        return episodes, counted

    def _name_records(self, ahead: int = 0) -> None:
        """Tell the runners that record the iteration that they sample for, restarted ones too."""
        if self.recorded_as is not None:
            iteration = self.recorded_as + ahead
            self.env_runner_group.foreach_env_runner(
                lambda runner: runner.begin_iteration(iteration)
            )

    def _update(self, episodes: list[Any]) -> Any:
        peek, config = self.metrics.peek, self.config
        trained = LEARNER_RESULTS, ALL_MODULES, NUM_MODULE_STEPS_TRAINED_LIFETIME
        return self.learner_group.update(
            episodes=episodes,
            timesteps={
                NUM_ENV_STEPS_SAMPLED_LIFETIME: peek(
                    (ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME)
                ),
                NUM_MODULE_STEPS_TRAINED_LIFETIME: peek(trained, default=0),
            },
            num_epochs=config.num_epochs,
            minibatch_size=config.minibatch_size,
            shuffle_batch_per_epoch=config.shuffle_batch_per_epoch,
        )

    def get_state(
        self, components: Any = None, *, not_components: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Return RLlib's state, the monitor's, remote runners' episodes, and samples ahead.

        Episodes are by the runner's index. What was sampled ahead is waited for.
        """
        state: dict[str, Any] = super().get_state(
            components, not_components=not_components, **kwargs
        )
        if self._check_component(MONITOR, components, not_components):
            state[MONITOR] = self.monitor.get_state()
        if self._check_component(EPISODES, components, not_components):
            state[SAMPLES] = self._ahead.get_state()
            state[EPISODES] = dict(
                self.env_runner_group.foreach_env_runner(_episodes_of, local_env_runner=False)
            )
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Take RLlib's state, and what ``get_state`` adds if it is there."""
        super().set_state(state)
        if MONITOR in state:
            self.monitor.set_state(state[MONITOR])
        self._ahead.set_state(state.get(SAMPLES))
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


def _env_steps(episode: Any) -> int:
    steps: int = episode.env_steps()
    return steps
