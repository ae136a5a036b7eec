"""Train the three agents: the ``tactical train`` command, also a job entry point of its own.

python -m rllib_tactical.train --data FILE --out DIR
"""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from pathlib import Path
from typing import Any

import click

if __package__ in (None, ""):  # run as a script by path: the checkout is the import root
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rllib_tactical.cluster import start_ray
from rllib_tactical.config import TacticalConfig, content_hash, load_config, to_dict
from rllib_tactical.data.instruments import instrument_for
from rllib_tactical.data.synergies import DETECT, NONE
from rllib_tactical.domain.types import AGENTS
from rllib_tactical.errors import TrainingError, UsageError
from rllib_tactical.lineage import git_commit, library_versions
from rllib_tactical.process import limit_threads
from rllib_tactical.rl.curriculum import check_new_run
from rllib_tactical.rl.loop import TrainingResult, run_training
from rllib_tactical.rl.metrics import Row
from rllib_tactical.rl.mlflow_log import MlflowLog
from rllib_tactical.rl.prepare import DataSource, TrainingMarket, prepare_market
from rllib_tactical.rl.report import REPORT
from rllib_tactical.rl.run_folder import RUN, RunFolder, config_of
from rllib_tactical.rl.warm_start import describe_warm_start
from rllib_tactical.run_config import StopConfig, WarmStartConfig
from rllib_tactical.storage import FolderType, place_of, working_folder

RUN_FORMAT = 1


def train(
    sources: list[DataSource],
    out: Path,
    config: TacticalConfig,
    *,
    bar_seconds: int = 300,
    resume: bool = False,
    max_seconds: float | None = None,
    say: Any = click.echo,
    mlflow: str | None = None,
) -> tuple[TrainingResult, TrainingMarket]:
    """Train on files of bars and leave a run folder that can be resumed and exported.

    Args:
        sources: files of bars, one per instrument.
        out: the run folder.
        config: the whole configuration.
        bar_seconds: length of a bar.
        resume: go on with the run in ``out``.
        max_seconds: end this call's training after the iteration in which so much time has passed.
        say: prints a line.
        mlflow: tracking URI of an MLflow store that gets parameters, metrics and the report.

    Raises:
        TacticalError: bad data, a folder in use, a resume that does not fit, too few CPUs.
    """
    limit_threads()
    folder = RunFolder(out)
    before = folder.read() if resume else {}
    begun = time.monotonic()
    market = prepare_market(sources, config, bar_seconds)
    if not resume:
        check_new_run(config, market.standardisation)
    # once there is a checkpoint its weights are in it, and their source may change or be gone
    known = before.get("warm_start") if folder.checkpoints() else None
    run = run_description(market, config, known)
    tracking = None if mlflow is None else MlflowLog(mlflow, say)
    start_ray(cpus_of(config, len(sources)), say)
    if resume:
        _check_resume(before, run)
        folder.set_config(run["config"], run["config_hash"])
    else:
        folder.start(run)
    for part in market.parts:
        splits = ", ".join(f"{s.name} {s.stop - s.start:,}" for s in part.splits)
        say(f"{len(part.tape):,} bars of {part.tape.instrument.symbol} (decision bars: {splits})")
    say(f"ready in {time.monotonic() - begun:.1f} s")
    progress = Progress(say, config.training.stop, max_seconds)
    if tracking is None:
        result = run_training(config, market, folder, progress, resume, max_seconds)
    else:
        with tracking.run(folder):

            def report(row: Row) -> None:
                progress(row)
                tracking.log(row)

            result = run_training(config, market, folder, report, resume, max_seconds)
    say(
        f"trained {result.iterations} iterations, {result.env_steps:,} steps in "
        f"{result.seconds:.0f} s ({result.stopped}); checkpoint {result.last_checkpoint}"
    )
    say(f"report {out / REPORT}")
    return result, market


def cpus_of(config: TacticalConfig, instruments: int) -> int:
    """Return the CPUs that a run's workers take besides the driver's own."""
    training = config.training
    validating = training.evaluation.workers_for(instruments)
    return training.num_env_runners + training.num_learners + validating


def run_description(
    market: TrainingMarket, config: TacticalConfig, known: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return what a run folder remembers besides weights.

    ``known``: what is known of the warm start, which is then not read.
    """
    warm = config.training.warm_start
    return {
        "warm_start": warm.path and (known or describe_warm_start(Path(warm.path), warm.layers)),
        "format": RUN_FORMAT,
        "bar_seconds": market.parts[0].source["bar_seconds"],
        "parts": [
            {"data": part.source, "instrument": to_dict(part.tape.instrument)}
            for part in market.parts
        ],
        "config": to_dict(config),
        "config_hash": content_hash(config),
        "standardisation": dataclasses.asdict(market.standardisation),
        "git_commit": git_commit(),
        "versions": library_versions(),
    }


class Progress:
    """Prints one line per iteration, with the time left.

    Args:
        say: prints a line.
        stop: whose limits may come before the last iteration.
        max_seconds: at which the call ends, instead of at the last iteration.
    """

    def __init__(self, say: Any, stop: StopConfig, max_seconds: float | None = None) -> None:
        self._say, self._stop, self._max_seconds = say, stop, max_seconds
        self._recent: list[float] = []
        self._before: float | None = None
        self._rewards: dict[str, float] = {}

    def __call__(self, row: Row) -> None:
        """Print a line for the metrics of an iteration; rewards are of the last ended episodes."""
        self._rewards |= {
            agent: row[f"reward_{agent}"] for agent in AGENTS if row[f"reward_{agent}"] is not None
        }
        left = max(0.0, self._seconds_left(row))
        of = "" if row["of"] is None else f"/{row['of']}"
        rewards = " ".join(f"{_number(self._rewards.get(agent))}" for agent in AGENTS)
        entropy = " ".join(f"{row[f'entropy_{agent}']:.2f}" for agent in AGENTS)
        line = (
            f"iter {row['iteration']:>4}{of}  {row['env_steps']:>9,} steps  "
            f"{row['steps_per_s']:>6,.0f}/s  reward {rewards}  "
            f"P&L ${row['pnl']:>9,.0f} in {row['trades']:>4} trades  entropy {entropy}  "
            f"left {int(left) // 60}:{int(left) % 60:02d}"
        )
        if "validation_net_pnl" in row:
            line += (
                f"\n  validation of iteration {row['validation_iteration']} by the full rule: "
                f"${row['validation_net_pnl']:,.0f} in {row['validation_trades']} trades "
                f"({row['validation_trades_per_day']:.1f} a day), "
                f"temperature scale {row['temperature_scale']:g}"
            )
        self._say(line)

    def _seconds_left(self, row: Row) -> float:
        """Return the time left by the last iterations, validation and checkpoints included."""
        total = row["total_seconds"]
        took = row["seconds"] if self._before is None else total - self._before
        self._before = total
        self._recent = [*self._recent[-19:], took]
        if self._max_seconds is not None:
            return float(self._max_seconds - total)
        left = row["of"] - row["iteration"]
        if self._stop.max_env_steps is not None:
            steps = row["steps_per_s"] * row["seconds"]
            left = min(left, math.ceil((self._stop.max_env_steps - row["env_steps"]) / steps))
        seconds = left * sum(self._recent) / len(self._recent)
        if self._stop.max_seconds is not None:
            seconds = min(seconds, self._stop.max_seconds - total)
        return float(seconds)


def _number(value: float | None) -> str:
    return "    -" if value is None else f"{value:5.2f}"


def _check_resume(before: dict[str, Any], now: dict[str, Any]) -> None:
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
        if old_part["instrument"] != new_part["instrument"]:
            raise TrainingError("--resume: the instrument differs from the run's")
    # what settings were not there yet when the run was started had their defaults
    old = to_dict(config_of(before, "--resume: run.json"))
    new = now["config"]
    # training longer is what resuming is for, and the machine may be another one
    may_differ = {
        "iterations",
        "num_env_runners",
        "num_learners",
        "checkpoint_every",
        "checkpoint_episodes",
        "keep_checkpoints",
        "evaluation",
        "stop",
        "record_rollouts",
    }
    for section in new:
        for key, value in new[section].items():
            if section == "training" and key in may_differ:
                continue
            if old.get(section, {}).get(key) != value:
                raise TrainingError(
                    f"--resume: {section}.{key} is {value!r}, the run was started with "
                    f"{old.get(section, {}).get(key)!r}"
                )


@click.command("train")
@click.option(
    "--data",
    required=True,
    multiple=True,
    type=click.Path(path_type=Path),
    help="File of bars; several for several instruments.",
)
@click.option(
    "--out", required=True, type=FolderType(), help="Run folder to make, or a URI (s3://...)."
)
@click.option(
    "--config", "config_path", type=click.Path(path_type=Path), help="YAML; see tactical.yaml."
)
@click.option(
    "--instrument",
    multiple=True,
    help="Shipped name or YAML file, one per --data; else told by the data file's name.",
)
@click.option(
    "--synergies",
    default=DETECT,
    show_default=True,
    help="detect them on the bars, none, or a file of events (a JSON object per line).",
)
@click.option("--iterations", type=click.IntRange(min=1), help="Training iterations.")
@click.option("--env-steps", type=click.IntRange(min=1), help="Train for about this many steps.")
@click.option(
    "--num-env-runners", type=click.IntRange(min=0), help="Ray actors that sample; 0: none."
)
@click.option(
    "--evaluation-workers",
    type=click.IntRange(min=0),
    help="Ray tasks that validate while training goes on; 0: none.",
)
@click.option("--seed", type=click.IntRange(min=0), help="Seed of everything random.")
@click.option(
    "--warm-start",
    type=click.Path(path_type=Path),
    help="Run, checkpoint or bundle whose actors to begin with.",
)
@click.option(
    "--warm-layers",
    type=click.Choice(["conv", "all"]),
    help="Of --warm-start: attention and convolutions, or the whole actors.  [default: conv]",
)
@click.option("--record-rollouts", is_flag=True, help="Write every sampled step to Parquet files.")
@click.option("--mlflow", metavar="URI", help="Also log to this MLflow tracking URI.")
@click.option("--resume", is_flag=True, help="Continue the run in --out from its last checkpoint.")
def train_command(
    data: tuple[Path, ...],
    out: Path | str,
    config_path: Path | None,
    instrument: tuple[str, ...],
    synergies: str,
    iterations: int | None,
    env_steps: int | None,
    num_env_runners: int | None,
    evaluation_workers: int | None,
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
    if resume:
        started = config_of(place_of(out).read_json(RUN), str(out))
        if config_path is None:
            config = started
        elif warm_start is None:
            config = _with_training(config, warm_start=started.training.warm_start)
    if iterations is not None and env_steps is not None:
        raise UsageError("give --iterations or --env-steps, not both")
    if env_steps is not None:
        iterations = max(1, -(-env_steps // config.training.batch_size))
    changes: dict[str, Any] = {
        "iterations": iterations,
        "num_env_runners": num_env_runners,
        "seed": seed,
        "record_rollouts": record_rollouts or None,
        "evaluation": None
        if evaluation_workers is None
        else dataclasses.replace(config.training.evaluation, workers=evaluation_workers),
        "warm_start": _warm_start(config.training.warm_start, warm_start, warm_layers),
    }
    config = _with_training(
        config, **{name: value for name, value in changes.items() if value is not None}
    )
    if instrument and len(instrument) != len(data):
        raise UsageError(
            f"give one --instrument per --data or none, found {len(instrument)} and {len(data)}"
        )
    if len(data) > 1 and synergies not in (DETECT, NONE):
        raise UsageError("--synergies FILE goes with one --data, because events name no symbol")
    names = instrument or (None,) * len(data)
    sources = [
        DataSource(path, instrument_for(name, path), synergies)
        for path, name in zip(data, names, strict=True)
    ]
    with working_folder(out, resume) as folder:
        result, _ = train(sources, folder, config, resume=resume, mlflow=mlflow)
    if result.validation is not None and result.validation.trades_too_little:
        click.echo(
            f"note: in the best checkpoint ({result.best_checkpoint.name}) the agents trade less "
            "than half as often by the full rule as in training"
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


def main() -> None:
    """Run ``train`` as a program of its own, for ``ray job submit`` and ``ray submit``."""
    from rllib_tactical.cli import run

    run(["train", *sys.argv[1:]])


if __name__ == "__main__":
    main()
