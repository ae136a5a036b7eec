"""Make a policy bundle of an algorithm of RLlib that a user has trained."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME

from rllib_tactical.artifacts.run_folder import RunFolder
from rllib_tactical.bundle.bundle import Bundle
from rllib_tactical.bundle.export import export_run
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.rl.algorithm.weights import actor_weights_of
from rllib_tactical.rl.run_description import run_description
from rllib_tactical.rl.training.market import TrainingMarket
from rllib_tactical.rl.training.validator import Validator


def export_algorithm(
    algorithm: Any,
    market: TrainingMarket,
    config: TacticalConfig,
    out: Path | str,
    symbol: str | None = None,
) -> Bundle:
    """Validate the actors of an algorithm and make a bundle of them, as of a run of our own.

    Args:
        algorithm: of RLlib, with a module for each agent whose ``actor`` is the network of
            ``config``; see ``actor_critic_spec``.
        market: what it was trained on.
        config: rules, network and validation. Its training section is ours: what another
            algorithm was trained with is not in the bundle, only the algorithm's name.
        out: the bundle folder to make.
        symbol: the instrument that the bundle decides for; needed when the market has several.

    Raises:
        UsageError: the market has several instruments and none, or another, is named; ``out``
            holds something else.
        BundleError: the weights do not fit the actors.
    """
    weights = actor_weights_of(algorithm)
    iteration = int(algorithm.training_iteration)
    sampled = (ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME)
    env_steps = int(algorithm.metrics.peek(sampled, default=0))
    validator = Validator(config, market)
    validator.start(iteration, env_steps, None, weights)
    result = validator.collect()
    with TemporaryDirectory() as folder:
        run = RunFolder(Path(folder) / "run")
        run.start(run_description(market, config))
        state = {
            "env_steps": env_steps,
            "validation": None if result is None else result.validation.as_dict(),
            "algorithm": f"{type(algorithm).__module__}.{type(algorithm).__qualname__}",
        }
        checkpoint = run.save(iteration, weights, state, lambda path: None, keep=1)
        return export_run(checkpoint, Path(out), symbol)
