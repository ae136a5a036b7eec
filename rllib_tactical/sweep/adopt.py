"""Take over another trial's weights, as population based training asks for."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, Final

import pandas as pd

from rllib_tactical.atomic import atomic_file, atomic_write_text
from rllib_tactical.config import TacticalConfig, content_hash, to_dict
from rllib_tactical.errors import TrainingError
from rllib_tactical.rl.prepare import TrainingMarket
from rllib_tactical.rl.run_folder import (
    CHECKPOINTS,
    PROGRESS,
    RUN,
    RunFolder,
    read_weights,
)
from rllib_tactical.storage import Mirror, Place
from rllib_tactical.sweep.daily import daily_table

HISTORIES: Final = {PROGRESS: "iteration", "validation.jsonl": "known_at"}
"""Files with a line per event, and the key that says after which iteration it was known."""

ABANDONED: Final = "abandoned"
DAILY: Final = "daily"


def adopt(
    folder: RunFolder,
    source: Place,
    iteration: int,
    config: TacticalConfig,
    before: tuple[TacticalConfig, TrainingMarket],
) -> None:
    """Replace a run's checkpoints and progress by those of another up to a checkpoint of it.

    The daily P&L of what is given up stays, because the sweep has tried it. Killed at any moment,
    the run has its own checkpoints or the other's, and adopting again gives the same.

    Args:
        folder: the run that takes over.
        source: the folder of the other one.
        iteration: names the other's checkpoint; where it is gone, its newest after that.
        config: with which the run goes on.
        before: the run's configuration and market so far.

    Raises:
        TrainingError: the other has no such checkpoint, nor a later one.
    """
    write_daily(folder, *before, kind=ABANDONED)
    name = _checkpoint_of(source, iteration)
    staging = folder.path / f".{CHECKPOINTS}-taken"
    shutil.rmtree(staging, ignore_errors=True)
    (staging / name).mkdir(parents=True)
    Mirror(staging / name, source / CHECKPOINTS / name).pull()
    for file, key in HISTORIES.items():
        lines = source.read(file).decode() if source.has(file) else ""
        atomic_write_text(folder.path / file, _until(lines, key, int(name)))
    run = folder.read() | {"config": to_dict(config), "config_hash": content_hash(config)}
    atomic_write_text(folder.path / RUN, json.dumps(run, indent=2, sort_keys=True) + "\n")
    own, old = folder.path / CHECKPOINTS, folder.path / f".{CHECKPOINTS}-given-up"
    shutil.rmtree(old, ignore_errors=True)
    if own.exists():
        os.replace(own, old)
    os.replace(staging, own)
    shutil.rmtree(old, ignore_errors=True)


def write_daily(
    folder: RunFolder, config: TacticalConfig, market: TrainingMarket, kind: str = DAILY
) -> Path | None:
    """Write the daily P&L of a run's best checkpoint, unless it is there; None without one.

    Returns:
        ``KIND-NNNNNN.parquet`` in the run's folder, numbered by the checkpoint.
    """
    best = folder.best()
    if best is None:
        return None
    path = folder.path / f"{kind}-{best.name}.parquet"
    if not path.is_file():
        table: pd.DataFrame = daily_table(read_weights(best), config, market)
        with atomic_file(path) as temporary:
            table.to_parquet(temporary)
    return path


def _checkpoint_of(source: Place, iteration: int) -> str:
    complete = sorted(
        name.split("/")[0]
        for name in (source / CHECKPOINTS).files_below()
        if name.endswith("/checkpoint.json") and not name.startswith(".")
    )
    later = [name for name in complete if int(name) >= iteration]
    if not later:
        raise TrainingError(
            f"{source} has no checkpoint of iteration {iteration} or later to take over: raise "
            "config.training.keep_checkpoints"
        )
    return later[0]


def _until(text: str, key: str, iteration: int) -> str:
    kept = []
    for line in text.splitlines():
        try:
            row: Any = json.loads(line)
        except ValueError:
            continue
        if row.get(key, 0) <= iteration:
            kept.append(line + "\n")
    return "".join(kept)
