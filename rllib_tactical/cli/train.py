"""The ``tactical train`` command."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from rllib_tactical.artifacts.run_folder import RUN, RUN_OUTPUT, config_of
from rllib_tactical.artifacts.storage import place_of, working_folder
from rllib_tactical.cli.options import MLFLOW, FolderType, training_data_options
from rllib_tactical.config.loader import load_config
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.config.training import WarmStartConfig
from rllib_tactical.data.dataset import data_sources
from rllib_tactical.data.interpret.options import ReadOptions
from rllib_tactical.errors import UsageError
from rllib_tactical.rl import train


@click.command("train")
@training_data_options
@click.option(
    "--out", required=True, type=FolderType(), help="Run folder to make, or a URI (s3://...)."
)
@click.option(
    "--config", "config_path", type=click.Path(path_type=Path), help="YAML; see tactical.yaml."
)
@click.option("--iterations", type=click.IntRange(min=1), help="Training iterations.")
@click.option("--env-steps", type=click.IntRange(min=1), help="Train for about this many steps.")
@click.option(
    "--num-env-runners", type=click.IntRange(min=0), help="Ray actors that sample; 0: none."
)
@click.option(
    "--validation-workers",
    type=click.IntRange(min=0),
    help="Ray tasks that validate while training goes on; 0: none.",
)
@click.option(  # its name in version 1
    "--evaluation-workers", "validation_workers", type=click.IntRange(min=0), hidden=True
)
@click.option("--seed", type=click.IntRange(min=0), help="Seed of everything random.")
@click.option(
    "--warm-start",
    type=click.Path(path_type=Path),
    help="Run, checkpoint or bundle with the actors to start from.",
)
@click.option(
    "--warm-layers",
    type=click.Choice(["conv", "all"]),
    help="Of --warm-start: attention and convolutions, or the whole actors.  [default: conv]",
)
@click.option("--record-rollouts", is_flag=True, help="Write every sampled step to Parquet files.")
@MLFLOW
@click.option("--resume", is_flag=True, help="Continue the run in --out from its last checkpoint.")
def train_command(
    data: tuple[Path, ...],
    out: Path | str,
    config_path: Path | None,
    instrument: tuple[str, ...],
    synergies: str,
    reading: ReadOptions,
    iterations: int | None,
    env_steps: int | None,
    num_env_runners: int | None,
    validation_workers: int | None,
    seed: int | None,
    warm_start: Path | None,
    warm_layers: str | None,
    record_rollouts: bool,
    mlflow: str | None,
    resume: bool,
) -> None:
    """Train the three agents with one centralized critic (MAPPO) on one or more instruments.

    Prints a line per iteration: steps, steps/s, mean episode reward of fvg, momentum and entry,
    P&L and trades by the training rule, entropy of the three agents, time left. The run folder
    holds progress.jsonl, TensorBoard events, training_report.html and checkpoints; `tactical
    export` makes a bundle. Curriculum, stop criteria and all other settings: --config.
    """
    config = load_config(config_path)
    place = place_of(out)
    RUN_OUTPUT.require(place, resume=resume)
    if resume:
        started = config_of(place.read_json(RUN), str(out))
        if config_path is None:
            config = started
        elif warm_start is None:
            config = _with_training(config, warm_start=started.training.warm_start)
    if iterations is not None and env_steps is not None:
        raise UsageError("give --iterations or --env-steps, not both")
    if env_steps is not None:
        iterations = max(1, -(-env_steps // config.training.update_steps))
    changes: dict[str, Any] = {
        "iterations": iterations,
        "num_env_runners": num_env_runners,
        "seed": seed,
        "record_rollouts": record_rollouts or None,
        "validation": None
        if validation_workers is None
        else dataclasses.replace(config.training.validation, workers=validation_workers),
        "warm_start": _warm_start(config.training.warm_start, warm_start, warm_layers),
    }
    config = _with_training(
        config, **{name: value for name, value in changes.items() if value is not None}
    )
    sources = data_sources(data, instrument, synergies, options=reading)
    with working_folder(out, resume) as folder:
        result = train(sources, folder, config, resume=resume, mlflow=mlflow)
    if result.validation is not None and result.validation.target is not None:
        click.echo(f"in the best checkpoint: {result.validation.target.text()}")
    if result.validation is not None and result.validation.trades_too_little:
        click.echo(
            f"note: in the best checkpoint ({result.best_checkpoint.name}) the agents trade less "
            "than half as often by the serving rule as in training"
        )


def _with_training(config: TacticalConfig, **changes: Any) -> TacticalConfig:
    return dataclasses.replace(config, training=dataclasses.replace(config.training, **changes))


def _warm_start(before: WarmStartConfig, path: Path | None, layers: Any) -> WarmStartConfig:
    if path is None and before.path is None and layers is not None:
        raise UsageError("--warm-layers goes with --warm-start")
    return WarmStartConfig(
        path=before.path if path is None else str(path.absolute()),
        layers=layers or before.layers,
    )
