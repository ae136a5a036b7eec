"""The RLlib configuration of MAPPO, built from ours."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

import numpy as np
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from envs.spaces import ACTION_SPACE, OBSERVATION_SPACE
from rllib_tactical.bundle.networks import Standardization
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.config.training import TrainingConfig
from rllib_tactical.domain.simulation.history import MARKET_FEATURES
from rllib_tactical.domain.types import AGENTS
from rllib_tactical.rl.algorithm.ablations import check_ablations, class_for
from rllib_tactical.rl.algorithm.connector import CentralizedBatch
from rllib_tactical.rl.algorithm.counterfactual import COUNTERFACTUAL
from rllib_tactical.rl.algorithm.learner import BATCH, THREADS, MappoLearner
from rllib_tactical.rl.algorithm.mappo import Mappo
from rllib_tactical.rl.algorithm.modules import ActorModule, CriticModule
from rllib_tactical.rl.extensions import EXTENSIONS, registered_extensions
from rllib_tactical.rl.names import CRITIC
from rllib_tactical.rl.sampling.env_runner import BatchedEnvRunner
from rllib_tactical.rl.sampling.market_env import (
    KEEPS_LOGP,
    MARKET,
    OVERLAP,
    RECORD_TO,
    MarketEnv,
)
from rllib_tactical.rl.sampling.market_ref import MarketHandle

SAMPLE_TIMEOUT_S = 600.0

LARGEST_SEED = 2**31 - 1
"""RLlib adds numbers of workers to its seed, and the sum must stay below 2**32."""


def _map_agent(agent_id: str, episode: Any, **kwargs: Any) -> str:
    return agent_id


def build_config(
    config: TacticalConfig,
    market: MarketHandle,
    standardization: Standardization,
    runner: Literal["batched", "stock"] = "batched",
    resumed_at: int = 0,
    stage: int = 0,
    record_to: Path | None = None,
) -> PPOConfig:
    """Return the PPOConfig of three actors and one centralized critic.

    Args:
        config: our configuration.
        market: what to replay.
        standardization: of the network input, estimated on the training bars.
        runner: the batched env runner, or RLlib's own with the MultiAgentEnv.
        resumed_at: the iteration from which a run continues; remote runners draw anew from there.
        stage: number of the curriculum's stage that ``market`` is; episodes stay within one.
        record_to: folder for the Parquet files of sampled steps, on every runner's machine.

    Raises:
        ConfigError: see ``check_ablations``.
    """
    check_ablations(config)
    training = config.training
    accounts = training.num_envs * max(1, training.num_env_runners)
    fragment, more = divmod(training.update_steps, accounts)
    learners = max(1, training.num_learners)
    per_bar = training.accounts_per_bar if runner == "batched" else 1
    batch_class = class_for(CentralizedBatch, config)
    extensions = registered_extensions()
    seed = training.seed
    if resumed_at or seed > LARGEST_SEED:
        seed = int(np.random.SeedSequence([seed, resumed_at]).generate_state(1)[0] >> 1)
    return (
        PPOConfig(algo_class=Mappo)
        .environment(
            MarketEnv,
            env_config={
                MARKET: market,
                "accounts_per_bar": per_bar,
                "stage": stage,
                OVERLAP: training.overlap,
                KEEPS_LOGP: batch_class.takes_logp,
                RECORD_TO: record_to,
                EXTENSIONS: extensions,
            },
            disable_env_checking=True,
        )
        .env_runners(
            env_runner_cls=BatchedEnvRunner if runner == "batched" else None,
            num_env_runners=training.num_env_runners,
            num_envs_per_env_runner=training.num_envs,
            # a slow fragment would be thrown away and asked for again, for ever
            sample_timeout_s=SAMPLE_TIMEOUT_S,
            # "auto": some runners step once more than others, so that all steps are sampled
            rollout_fragment_length="auto" if more else fragment,
        )
        .learners(
            num_learners=training.num_learners,
            num_cpus_per_learner=1 if training.num_learners else "auto",
            num_gpus_per_learner=training.learner_gpus,
            # our own connector makes the whole batch
            add_default_connectors_to_learner_pipeline=False,
            learner_config_dict={
                BATCH: batch_class,
                EXTENSIONS: extensions,
                THREADS: training.learner_threads,
                COUNTERFACTUAL: config.counterfactual,
            },
        )
        .multi_agent(
            policies=tuple(AGENTS),
            policy_mapping_fn=_map_agent,
            algorithm_config_overrides_per_module={
                CRITIC: PPOConfig.overrides(lr=training.critic_lr),
                **{
                    agent: PPOConfig.overrides(
                        lr=_linear(training, rate, training.actor_lr_end_factor)
                    )
                    for agent, rate in config.learning_rates.items()
                },
            },
        )
        .rl_module(rl_module_spec=module_spec(config, standardization))
        .training(
            learner_class=class_for(MappoLearner, config),
            lr=_linear(training, config.actor_lr, training.actor_lr_end_factor),
            gamma=training.gamma,
            lambda_=training.gae_lambda,
            clip_param=training.clip_ratio,
            entropy_coeff=_linear(training, training.entropy_coef, training.entropy_end_factor),
            vf_loss_coeff=training.value_loss_coef,
            grad_clip=training.max_grad_norm,
            grad_clip_by="global_norm",
            use_kl_loss=False,
            use_critic=False,
            num_epochs=training.passes,
            train_batch_size_per_learner=training.update_steps // learners,
            minibatch_size=max(1, training.batch_size // learners),
        )
        .debugging(seed=seed, log_level="ERROR")
        .reporting(metrics_num_episodes_for_smoothing=100)
    )


def _linear(training: TrainingConfig, value: float, end_factor: float) -> float | list[list[float]]:
    """Return ``value``, or its schedule over the run: [account steps, value] pairs."""
    if end_factor == 1.0:
        return value
    return [[0, value], [training.iterations * training.update_steps, end_factor * value]]


def module_spec(config: TacticalConfig, standardization: Standardization) -> MultiRLModuleSpec:
    """Return the specification of the four modules: three actors and the learner-only critic."""
    scale = dataclasses.asdict(standardization)
    of_account = config.training.episodes.account_features
    specs = {
        agent: RLModuleSpec(
            module_class=ActorModule,
            observation_space=OBSERVATION_SPACE,
            action_space=ACTION_SPACE,
            model_config={
                "attention": getattr(config.agents, agent).attention_weights,
                "temperature": getattr(config.agents, agent).exploration_temperature,
                "standardisation": scale,
                "precision": config.training.precision,
                "network": config.model.network,
            },
        )
        for agent in AGENTS
    }
    specs[CRITIC] = RLModuleSpec(
        module_class=class_for(CriticModule, config),
        learner_only=True,
        observation_space=OBSERVATION_SPACE,
        action_space=ACTION_SPACE,
        model_config={
            "account_features": len(of_account) + len(MARKET_FEATURES),
            "hidden": config.model.hidden_sizes,
            "dropout": config.model.dropout_rate,
            "shared_head": config.model.critic_heads == "shared",
            "precision": config.training.precision,
            "standardisation": scale,
        },
    )
    return MultiRLModuleSpec(rl_module_specs=specs)
