"""Section "sweep": short trials under Ray Tune and one after another, and the data copied."""

from __future__ import annotations

import pickle
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rllib_tactical.artifacts.storage import place_of
from rllib_tactical.bench.measurement import Baseline, Row, summarize
from rllib_tactical.bench.object_store import bytes_created
from rllib_tactical.config.loader import from_dict
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.data.calendar.bar_length import BAR_SECONDS
from rllib_tactical.data.dataset import DataSource
from rllib_tactical.data.files import write_bars
from rllib_tactical.rl import train
from rllib_tactical.rl.training.market import prepare_market
from rllib_tactical.runtime.ray_cluster import start_ray
from rllib_tactical.sweep.folder import TRIAL, SweepFolder
from rllib_tactical.sweep.runner import Sweep, run_sweep
from rllib_tactical.sweep.spec import SweepSpec
from rllib_tactical.synthetic import make_market

SEED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSize:
    """Sizes of the measurements. The defaults take about two minutes; tests use smaller ones."""

    bars: int = 20_000
    trials: int = 16
    iterations: int = 5
    steps_per_update: int = 1024


def measure_sweep(size: SweepSize, progress: Callable[[str], None]) -> list[Row]:
    """Measure every row of the section on a synthetic market.

    Args:
        size: sizes of the measurements.
        progress: called with the name of each measurement before it starts.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        progress("making the market")
        market = make_market("momentum", SEED, size.bars)
        write_bars(market.bars, folder / "bars.parquet")
        sources = [DataSource(folder / "bars.parquet", market.instrument)]
        spec = _spec(size)
        start_ray(1)
        copied = len(pickle.dumps(prepare_market(sources, spec.config, BAR_SECONDS).spec.parts))
        progress(f"{size.trials} trials under Ray Tune")
        before, begun = bytes_created(), time.perf_counter()
        sweep = SweepFolder(place_of(folder / "sweep"))
        run_sweep(Sweep(spec, sources, BAR_SECONDS, sweep), False, lambda text: None)
        swept = time.perf_counter() - begun
        in_sweep = bytes_created() - before
        progress("the same trials one after another")
        before, begun = bytes_created(), time.perf_counter()
        for number in sorted(sweep.history):
            values = sweep.trial(number).read_json(TRIAL)["params"]
            config = spec.domains.applied(spec.config, values)
            train(sources, folder / "hand" / str(number), config, log=lambda text: None)
        by_hand = time.perf_counter() - begun
        # RLlib puts weights into the store in every iteration, in the sweep as much as here. Here
        # each run put the bars there too
        weights = bytes_created() - before - size.trials * copied
        created = in_sweep - weights
    return [
        Row(
            name=f"sweep of {size.trials} trials",
            unit="s, wall",
            measurement=summarize([swept]),
            higher_is_better=False,
            baselines=(
                Baseline(
                    "by hand",
                    summarize([by_hand]),
                    f"the same {size.trials} trials, one after another in one process",
                    target_ratio=1 / 1.2,
                ),
            ),
        ),
        Row(
            name=f"copied to a node, {size.trials} trials",
            unit="MB",
            measurement=summarize([created / 1e6]),
            target=1.1 * copied / 1e6,
            higher_is_better=False,
            baselines=(
                Baseline(
                    "bars per trial",
                    summarize([size.trials * copied / 1e6]),
                    "the amount if every trial were sent the prepared bars",
                ),
            ),
        ),
    ]


def _spec(size: SweepSize) -> SweepSpec:
    training: dict[str, Any] = {
        "iterations": size.iterations,
        "steps_per_update": size.steps_per_update,
        "batch_size": size.steps_per_update // 2,
        "epochs": 2,
        "credit": "sampled",  # pre-training would take longer than the trials
        "num_envs": 64,
        "num_env_runners": 0,
        "checkpoint_every": size.iterations,
        "episodes": {"kind": "bars", "length": 64, "cost_factors": [1.0, 1.0]},
    }
    return SweepSpec(
        samples=size.trials,
        config=from_dict(TacticalConfig, {"training": training}, "bench"),
        space={
            "training.actor_lr": {"log_uniform": [0.0001, 0.003]},
            "rewards": {"choice": ["full", "pnl_only"]},
        },
    )
