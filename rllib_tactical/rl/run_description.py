"""What a run folder records besides weights, and what a resumed run must have in common."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Final

from rllib_tactical.artifacts.run_folder import config_of
from rllib_tactical.artifacts.versions import git_commit, library_versions
from rllib_tactical.config.loader import content_hash, from_dict, to_dict
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.data.interpret.interpretation import read_options_of
from rllib_tactical.domain.types import Instrument
from rllib_tactical.errors import TrainingError
from rllib_tactical.rl.training.market import TrainingMarket
from rllib_tactical.rl.training.warm_start import describe_warm_start

RUN_FORMAT: Final = 1


def cpus_of(config: TacticalConfig, instruments: int) -> int:
    """Return the number of CPUs of a run's workers, without that of the driver."""
    training = config.training
    validating = training.validation.workers_for(instruments)
    return training.num_env_runners + training.num_learners + validating


def run_description(
    market: TrainingMarket, config: TacticalConfig, known: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return what a run folder records besides weights.

    ``known``: the description of the warm start if it is known; its files are then not read.
    """
    warm = config.training.warm_start
    described = known
    if warm.path and not known:
        described = describe_warm_start(Path(warm.path), warm.layers, config.model.network)
    return {
        "warm_start": warm.path and described,
        "format": RUN_FORMAT,
        "bar_seconds": market.parts[0].source["bar_seconds"],
        "parts": [
            {"data": part.source, "instrument": to_dict(part.history.instrument)}
            for part in market.parts
        ],
        "config": to_dict(config),
        "config_hash": content_hash(config),
        "standardisation": dataclasses.asdict(market.standardization),
        "git_commit": git_commit(),
        "versions": library_versions(),
    }


def check_resume(before: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to resume with other data, another instrument or another configuration."""
    if before.get("warm_start") != now["warm_start"]:
        raise TrainingError("--resume: the warm start differs from the run's")
    if len(before["parts"]) != len(now["parts"]):
        raise TrainingError(
            f"--resume: the run was started with {len(before['parts'])} files, "
            f"found {len(now['parts'])}"
        )
    for old_part, new_part in zip(before["parts"], now["parts"], strict=True):
        old_data, new_data = old_part["data"], new_part["data"]
        if old_data["sha256"] != new_data["sha256"]:
            raise TrainingError(
                f"--resume: {new_data['name']} is not the file that the run was started with "
                f"(SHA-256 {new_data['sha256'][:12]}, the run has {old_data['sha256'][:12]})"
            )
        if old_data["synergies"] != new_data["synergies"]:
            raise TrainingError("--resume: --synergies differs from what the run was started with")
        if read_options_of(old_data) != read_options_of(new_data):
            raise TrainingError(
                f"--resume: the options that say how {new_data['name']} is read differ from those "
                f"that the run was started with, {read_options_of(old_data) or 'none'}"
            )
        # fields that were not there yet when the run was started had their defaults
        old_instrument = from_dict(Instrument, old_part["instrument"], "--resume: run.json")
        if old_instrument != from_dict(Instrument, new_part["instrument"], "instrument"):
            raise TrainingError("--resume: the instrument differs from the run's")
    # settings that did not exist when the run was started had their defaults
    old = to_dict(config_of(before, "--resume: run.json"))
    new = now["config"]
    # a resumed run may train longer, and on another machine
    may_differ = {
        "iterations",
        "num_env_runners",
        "num_learners",
        "overlap",
        "learner_threads",
        "checkpoint_every",
        "checkpoint_episodes",
        "keep_checkpoints",
        "validation",
        "stop",
        "record_rollouts",
    }
    for section, settings in new.items():
        if not isinstance(settings, dict):  # the switch, which has one value
            continue
        for key, value in settings.items():
            if section == "training" and key in may_differ:
                continue
            if old[section][key] != value:
                raise TrainingError(
                    f"--resume: {section}.{key} is {value!r}, the run was started with "
                    f"{old[section][key]!r}"
                )
