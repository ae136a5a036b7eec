"""The ``tactical adapt`` command."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from rllib_tactical.bundle.registry import Registry
from rllib_tactical.cli.options import FILE
from rllib_tactical.cli.registry import changes_over
from rllib_tactical.config.loader import load_config
from rllib_tactical.lifecycle.adapt import Adaptation, AdaptSettings
from rllib_tactical.lifecycle.gate import GateRules


@click.command("adapt")
@click.option(
    "--registry",
    "folder",
    default="registry",
    show_default=True,
    type=FILE,
    metavar="DIR",
    help="Registry whose chosen bundle is the champion.",
)
@click.option("--symbol", required=True, help="Whose champion is adapted.")
@click.option("--data", required=True, type=FILE, metavar="FILE", help="Bars up to now.")
@click.option("--out", required=True, type=FILE, metavar="DIR", help="Folder of the adaptation.")
@click.option(
    "--when",
    type=click.Choice(["always", "drift"]),
    default="always",
    show_default=True,
    help="drift: train only when the champion's profile in the registry shows drift.",
)
@click.option(
    "--bars", type=click.IntRange(min=1), help="Newest bars to use; all when it is not given."
)
@click.option("--iterations", type=click.IntRange(min=1), help="Training iterations.")
@click.option(
    "--train-seconds",
    type=click.FloatRange(min=0.0, min_open=True),
    help="Or end the training after so many seconds.",
)
@click.option(
    "--confidence",
    default=GateRules().confidence,
    show_default=True,
    type=click.FloatRange(0.5, 1.0, min_open=True, max_open=True),
    help="With which the challenger must earn more than the champion.",
)
@click.option("--min-days", default=GateRules().days, show_default=True, type=click.IntRange(min=2))
@click.option("--no-promote", is_flag=True, help="Stop after the gate.")
@click.option(
    "--config", "config_path", type=FILE, metavar="YAML", help="Training; else the champion's."
)
@click.option("--key", type=FILE, metavar="FILE", help="Private key to sign the challenger with.")
@click.option("--by", metavar="NAME", help="Who does it; the user's name when left out.")
@click.option("--url", metavar="URL", help="A running service that changes over when it passes.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0))
@click.option("--resume", is_flag=True, help="Go on in --out.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; progress to standard error.")
def adapt_command(
    folder: Path,
    symbol: str,
    data: Path,
    out: Path,
    when: str,
    bars: int | None,
    iterations: int | None,
    train_seconds: float | None,
    confidence: float,
    min_days: int,
    no_promote: bool,
    config_path: Path | None,
    key: Path | None,
    by: str | None,
    url: str | None,
    seed: int,
    resume: bool,
    as_json: bool,
) -> int:
    """Train the champion further on recent bars, and promote what beats it on later ones.

    Of the recent bars 55% are for training, 15% for validation and 30% for the gate, with embargoes
    between them. Exit code 1: the challenger did not pass. The champion then stays.
    """
    settings = AdaptSettings(
        only_on_drift=when == "drift",
        bars=bars,
        iterations=iterations,
        train_seconds=train_seconds,
        promote=not no_promote,
        rules=GateRules(confidence=confidence, days=min_days),
        seed=seed,
    )
    adaptation = Adaptation(
        Registry(folder),
        symbol,
        data,
        out,
        settings,
        config=None if config_path is None else load_config(config_path),
        apply=changes_over(url, "it passed the gate of tactical adapt", by),
        by=by,
        key=key,
        log=lambda line: click.echo(line, err=as_json),
    )
    result = adaptation.run(resume)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(result), indent=2))
    else:
        click.echo(f"{result.outcome.replace('_', ' ')}: {result.words}")
    return 1 if result.outcome == "refused" else 0
