"""The batched env runner: N accounts in one simulator call and one forward pass per actor."""

from __future__ import annotations

import math
import uuid
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from ray import get_runtime_context
from ray.rllib.callbacks.utils import make_callback
from ray.rllib.core.columns import Columns
from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner
from ray.rllib.utils.metrics import (
    NUM_AGENT_STEPS_SAMPLED,
    NUM_AGENT_STEPS_SAMPLED_LIFETIME,
    NUM_ENV_STEPS_SAMPLED,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    NUM_EPISODES,
    NUM_EPISODES_LIFETIME,
    NUM_MODULE_STEPS_SAMPLED,
    NUM_MODULE_STEPS_SAMPLED_LIFETIME,
    SAMPLE_TIMER,
    WEIGHTS_SEQ_NO,
)

from envs.market import MarketSpec
from envs.spaces import ACTION_SPACE, OBSERVATION_SPACE
from rllib_tactical.domain.decision.votes import constant_votes, greedy_votes, sample_votes, softmax
from rllib_tactical.domain.simulation.episodes import Outcome, ReplaySet
from rllib_tactical.domain.types import AGENTS, NUM_ACTIONS, NUM_AGENTS, Float32Array, FloatArray
from rllib_tactical.errors import TrainingError
from rllib_tactical.rl.extensions import EXTENSIONS, restore_extensions
from rllib_tactical.rl.names import ENDED_REWARDS
from rllib_tactical.rl.sampling.episode import JointEpisode, joined
from rllib_tactical.rl.sampling.market_env import KEEPS_LOGP, MARKET, RECORD_TO
from rllib_tactical.rl.sampling.recorder import Recorder
from rllib_tactical.rl.sampling.rollout import EpisodeCallbacks, RolloutBuffer
from rllib_tactical.runtime.process import disable_uninitialized_memory_fill

EPISODES = "episodes_in_flight"
"""Key in a state of what RLlib does not store of runners: accounts, random generator, sums."""

TRADING_METRICS = ("pnl", "trades", "wins", "costs", "bonus", "base")
"""Sums over the sampled steps: dollars, counts, dollars, and absolute reward parts."""


class BatchedEnvRunner(MultiAgentEnvRunner):
    """Steps ``num_envs_per_env_runner`` accounts together and returns ``JointEpisode`` segments."""

    _recorder: Recorder | None = None  # the driver's runner has none when remote runners sample

    def make_env(self) -> None:
        """Build the batched replay from the market handle in the environment's configuration."""
        # RLlib evaluates with "complete_episodes", and passes the number of them with each call
        if self.config.batch_mode != "truncate_episodes" and not self.config.in_evaluation:
            raise TrainingError(
                f'batch_mode must be "truncate_episodes", found {self.config.batch_mode!r}'
            )
        disable_uninitialized_memory_fill()
        restore_extensions(self.config.env_config[EXTENSIONS])  # of rewards here, of actors later
        market: MarketSpec = self.config.env_config[MARKET].open()
        self.num_envs = self.config.num_envs_per_env_runner
        seed = None if self._seed is None else self._seed + 1_000 * (self.worker_index or 0)
        came_back = bool(
            self.worker_index and get_runtime_context().was_current_actor_reconstructed
        )
        if came_back:
            seed = None  # so that it does not replay its first bars
        self._rng = np.random.default_rng(None if seed is None else seed + 1)
        self._confidence = market.train_confidence
        # accounts on one bar share what an actor computes; an evaluation would count them as copies
        group = 1 if self.config.in_evaluation else self.config.env_config["accounts_per_bar"]
        self.env = _ReplaySpaces(market.replay_set(self.num_envs, seed, group))
        lengths = [len(part.history) for part in market.parts]
        self._market_key = self.config.env_config["stage"], lengths, self.num_envs, group
        folder = self.config.env_config[RECORD_TO]
        self._recorder = folder and Recorder(folder, market, self.worker_index or 0, came_back)
        self._callbacks_of_episodes = EpisodeCallbacks(self)
        self._needs_initial_reset = True
        self._ended: list[tuple[int, FloatArray]] = []
        make_callback(
            "on_environment_created",
            callbacks_objects=self._callbacks,
            callbacks_functions=self.config.callbacks_on_environment_created,
            kwargs={
                "env_runner": self,
                "metrics_logger": self.metrics,
                "env": self.env,
                "env_context": self.config.env_config,
            },
        )

    def sample(
        self,
        *,
        num_timesteps: int | None = None,
        num_episodes: int | None = None,
        explore: bool | None = None,
        random_actions: bool = False,
        force_reset: bool = False,
    ) -> list[JointEpisode]:
        """Return segments of at least ``num_timesteps`` steps, or ``num_episodes`` whole episodes.

        Without either, the configured fragment of every account is sampled. A group of accounts
        that replay the same bars gives one whole episode.
        """
        explore = bool(self.config.explore if explore is None else explore)
        with self.metrics.log_time(SAMPLE_TIMER):
            if force_reset or num_episodes is not None or self._needs_initial_reset:
                # the first episodes of training are staggered; requested episodes are whole
                whole = force_reset or num_episodes is not None or self.config.in_evaluation
                self._reset(stagger=not whole)
                self._needs_initial_reset = num_episodes is not None
            if num_episodes is None:
                if num_timesteps is None:
                    fragment = self.config.get_rollout_fragment_length(self.worker_index)
                    num_timesteps = fragment * self.num_envs
                # rounded up, as RLlib may ask each runner for a fraction of a step of all accounts
                steps = math.ceil(num_timesteps / self.num_envs)
                samples = self._rollout(steps, explore, random_actions)
            else:
                samples = self._whole_episodes(num_episodes, explore, random_actions)
            self._count(samples)
            if self._recorder:
                self._recorder.write(samples)
            make_callback(
                "on_sample_end",
                callbacks_objects=self._callbacks,
                callbacks_functions=self.config.callbacks_on_sample_end,
                kwargs={
                    "env_runner": self,
                    "metrics_logger": self.metrics,
                    "samples": samples,
                },
            )
        if not self.config.env_config.get(KEEPS_LOGP, True):
            samples = [part.without_logp() for part in samples]
        return samples

    def begin_iteration(self, iteration: int) -> None:
        """Set the iteration that is sampled for; recorded files are named by it."""
        if self._recorder:
            self._recorder.begin(iteration)

    def get_metrics(self) -> Any:
        """Log the episodes that ended since the last call and return the reduced metrics."""
        for length, returns in self._ended:
            self.metrics.log_value(ENDED_REWARDS, float(returns.sum()), reduce="item_series")
            self.metrics.log_value(NUM_EPISODES, 1, reduce="sum")
            self.metrics.log_value(NUM_EPISODES_LIFETIME, 1, reduce="lifetime_sum")
            per_agent = dict(zip(AGENTS, returns.tolist(), strict=True))
            steps = dict.fromkeys(AGENTS, length)
            self._log_episode_metrics(
                length, float(returns.sum()), 0.0, per_agent, dict(per_agent), steps
            )
        self._ended = []
        return self.metrics.reduce()

    def get_state(
        self, components: Any = None, *, not_components: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Return RLlib's state and, for the runner that samples in the driver, its episodes."""
        state: dict[str, Any] = super().get_state(
            components, not_components=not_components, **kwargs
        )
        if self._keeps_episodes and self._check_component(EPISODES, components, not_components):
            state[EPISODES] = self.episodes()
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore RLlib's state, and the episodes of the runner that samples in the driver.

        Remote runners get the driver's state too; each has episodes of its own.
        """
        super().set_state(state)
        if self._keeps_episodes:
            self.set_episodes(state.get(EPISODES))

    @property
    def _keeps_episodes(self) -> bool:
        return not self.worker_index and not self.config.in_evaluation

    def episodes(self) -> dict[str, Any] | None:
        """Return the unfinished episodes and the generator's state; None before the first sample.

        With them a restored run samples what the run would have sampled without the interruption.
        """
        if self._needs_initial_reset:
            return None
        return {
            "market": self._market_key,
            "replays": self.env.replay.state(),
            "random": self._rng.bit_generator.state,
            "returns": self._returns.copy(),
            "lengths": self._lengths.copy(),
            "ended": list(self._ended),
        }

    def set_episodes(self, episodes: dict[str, Any] | None) -> None:
        """Go on with episodes; with none, or those of another market, start anew."""
        if episodes is None or episodes["market"] != self._market_key:
            return
        self._reset(stagger=False)
        self.env.replay.set_state(episodes["replays"])
        self._rng.bit_generator.state = episodes["random"]
        self._returns, self._lengths = episodes["returns"].copy(), episodes["lengths"].copy()
        self._ended = list(episodes["ended"])
        self._needs_initial_reset = False

    def _reset(self, stagger: bool) -> None:
        self.env.replay.reset(stagger=stagger)
        groups = self.num_envs // self.env.replay.group_size
        self._ids = [uuid.uuid4().hex for _ in range(groups)]
        self._returns = np.zeros((self.num_envs, NUM_AGENTS))
        self._lengths = np.zeros(self.num_envs, dtype=np.int64)
        self._callbacks_of_episodes.reset()

    def _whole_episodes(
        self, wanted: int, explore: bool, random_actions: bool
    ) -> list[JointEpisode]:
        """Sample until ``wanted`` episodes have ended; the first ones to end are returned whole."""
        whole: list[JointEpisode] = []
        before = list(self._ended)
        pending: dict[str, list[JointEpisode]] = {}
        while len(whole) < wanted:
            for segment in self._rollout(64, explore, random_actions):
                for part in segment.by_account(0):
                    pending.setdefault(segment.id_, []).append(part)
                    if part.is_done:
                        whole.append(joined(pending.pop(segment.id_)))
        whole = whole[:wanted]
        returns = [episode.rewards[:, 0].sum(axis=0, dtype=np.float64) for episode in whole]
        self._ended = [*before, *zip(map(len, whole), returns, strict=True)]
        return whole

    @torch.no_grad()
    def _rollout(self, steps: int, explore: bool, random_actions: bool) -> list[JointEpisode]:
        replay, accounts = self.env.replay, self.num_envs
        size = replay.group_size
        features = replay.account_features().shape[1]
        buffer = RolloutBuffer.empty(steps, accounts, size, features)
        first = np.zeros(accounts // size, dtype=np.int64)
        segments: list[JointEpisode] = []
        sums = dict.fromkeys(TRADING_METRICS, 0.0)
        buffer.record_state(0, replay)
        listeners = self._callbacks_of_episodes
        listeners.begin_rollout(buffer)
        for k in range(steps):
            by_group = self._probabilities(replay.observe(), explore, random_actions)
            probabilities = np.repeat(by_group, size, axis=0)
            if explore or random_actions:
                votes = sample_votes(probabilities, self._rng.random((accounts, NUM_AGENTS)))
            else:
                votes = greedy_votes(probabilities)
            moved = replay.step(constant_votes(votes.index, self._confidence))
            buffer.actions[k], buffer.logp[k] = votes.index, np.log(votes.confidence)
            buffer.rewards[k], buffer.terminated[k] = moved.rewards, moved.terminated
            buffer.record_state(k + 1, replay)
            self._returns += moved.rewards
            self._lengths += 1
            _add_trading(sums, moved)
            done = np.flatnonzero(moved.terminated | moved.truncated)
            listeners.stepped(k, done)
            if not len(done):
                continue
            for i in done.tolist():
                self._ended.append((int(self._lengths[i]), self._returns[i].copy()))
            self._returns[done], self._lengths[done] = 0.0, 0
            whole = np.zeros(accounts, dtype=np.bool_)
            whole[done] = True
            for g in np.flatnonzero(whole.reshape(-1, size).all(axis=1)).tolist():
                # the segment keeps its last state; row k + 1 then becomes the first of the next
                segments.append(buffer.segment(g, int(first[g]), k + 1, self._ids[g], ended=True))
                self._ids[g], first[g] = uuid.uuid4().hex, k + 1
            replay.restart(done)
            buffer.record_state(k + 1, replay)
            listeners.restarted(k + 1, done)
        for g in np.flatnonzero(first < steps).tolist():
            segments.append(buffer.segment(g, int(first[g]), steps, self._ids[g], ended=False))
        listeners.end_rollout(steps)
        for name, value in sums.items():
            self.metrics.log_value(("trading", name), value, reduce="sum")
        return segments

    def _probabilities(
        self, inputs: Float32Array, explore: bool, random_actions: bool
    ) -> FloatArray:
        if random_actions:
            return np.full((len(inputs), NUM_AGENTS, NUM_ACTIONS), 1.0 / NUM_ACTIONS)
        batch = {Columns.OBS: torch.from_numpy(inputs).to(self._device)}
        logits = [
            (
                self.module[agent].forward_exploration(batch)
                if explore
                else self.module[agent].forward_inference(batch)
            )[Columns.ACTION_DIST_INPUTS]
            for agent in AGENTS
        ]
        return softmax(torch.stack(logits, dim=1).cpu().numpy().astype(np.float64), 1.0)

    def _count(self, samples: list[JointEpisode]) -> None:
        steps, metrics = sum(part.env_steps() for part in samples), self.metrics
        metrics.log_value(NUM_ENV_STEPS_SAMPLED, steps, reduce="sum")
        metrics.log_value(
            NUM_ENV_STEPS_SAMPLED_LIFETIME, steps, reduce="lifetime_sum", with_throughput=True
        )
        metrics.log_value(WEIGHTS_SEQ_NO, self._weights_seq_no, window=1)
        for agent in AGENTS:
            for key in (NUM_AGENT_STEPS_SAMPLED, NUM_MODULE_STEPS_SAMPLED):
                metrics.log_value((key, agent), steps, reduce="sum")
            for key in (NUM_AGENT_STEPS_SAMPLED_LIFETIME, NUM_MODULE_STEPS_SAMPLED_LIFETIME):
                metrics.log_value((key, agent), steps, reduce="lifetime_sum")
        self.num_env_steps_sampled_lifetime += steps


class _ReplaySpaces:
    """What RLlib's runner needs of ``self.env``: spaces, agents, a count, and ``close``."""

    def __init__(self, replay: ReplaySet) -> None:
        self.replay = replay
        self.num_envs = replay.num_accounts
        self.envs: list[Any] = []
        self.possible_agents = list(AGENTS)
        self.observation_spaces = dict.fromkeys(AGENTS, OBSERVATION_SPACE)
        self.action_spaces = dict.fromkeys(AGENTS, ACTION_SPACE)
        self.single_observation_spaces = self.observation_spaces
        self.single_action_spaces = self.action_spaces
        self.observation_space = spaces.Dict(self.observation_spaces)  # type: ignore[arg-type]
        self.action_space = spaces.Dict(self.action_spaces)  # type: ignore[arg-type]
        self.single_observation_space = self.observation_space
        self.single_action_space = self.action_space

    @property
    def unwrapped(self) -> _ReplaySpaces:
        return self

    def get_observation_space(self, agent: str) -> spaces.Box:
        return OBSERVATION_SPACE

    def get_action_space(self, agent: str) -> spaces.Discrete[np.int64]:
        return ACTION_SPACE

    def close(self) -> None:
        """Do nothing: no resource is held."""


def _add_trading(sums: dict[str, float], step: Outcome) -> None:
    sums["pnl"] += float(step.equity_change.sum())
    sums["trades"] += float(step.exited.sum())
    sums["wins"] += float((step.trade_pnl > 0).sum())
    sums["costs"] += float(step.trade_cost.sum())
    sums["bonus"] += float(np.abs(step.bonus).sum())
    sums["base"] += float(np.abs(step.base).sum()) * NUM_AGENTS
