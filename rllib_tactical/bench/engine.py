"""Section "engine": sampling, transfer and learning, beside stock RLlib and a hand-written loop."""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
import ray
from ray import cloudpickle

from envs.market import MarketPart, MarketSpec
from rllib_tactical.bench.cluster import cluster_rows, memory_rows
from rllib_tactical.bench.measurement import (
    Baseline,
    Measurement,
    Row,
    measure_rates,
    single,
    summarize,
)
from rllib_tactical.bench.plain_mappo import PlainMappo
from rllib_tactical.bench.stock_rllib import stock_config
from rllib_tactical.bundle.networks import Standardization
from rllib_tactical.config.schema import TacticalConfig
from rllib_tactical.domain.simulation.history import Split
from rllib_tactical.rl.algorithm.config import build_config
from rllib_tactical.rl.algorithm.precision import SLOW, bfloat16_cost
from rllib_tactical.rl.sampling.market_ref import MarketHandle
from rllib_tactical.runtime.process import limit_threads, without_expected_noise
from rllib_tactical.synthetic import make_market

SEED = 1
GROUP = 8
MINIBATCHES, EPOCHS = 4, 4
OURS, STOCK, PLAIN = "ours", "RLlib, stock", "NumPy and PyTorch by hand"
ONE_THREAD, IN_TURNS = "one thread", "overlap 0"
NOTES = {
    STOCK: "RLlib's MultiAgentEnv (all infos), MultiAgentEnvRunner and update loop, float32; "
    "1 account per bar",
    PLAIN: "the same networks in a plain loop without RLlib, in the row's precision; accounts on "
    "one bar share a forward pass in sampling only",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSize:
    """Sizes of the measurements. The defaults take about ten minutes; tests use smaller ones.

    ``runners``: env runners that really sample; ``simulated`` ones send ``message`` steps each;
    ``memory``: two iterations between which a process must not grow.
    """

    bars: int = 20_000
    steps: int = 2_048
    update: int = 8_192
    accounts: int = 64
    repetitions: int = 5
    runners: tuple[int, ...] = (1, 2, 8)
    simulated: int = 100
    message: int = 512
    memory: tuple[int, int] = (50, 300)


def measure_engine(size: EngineSize, progress: Callable[[str], None]) -> Iterator[Row]:
    """Measure every row of the section on one synthetic market, in a local Ray unless one runs.

    Args:
        size: sizes of the measurements.
        progress: called with the name of each measurement before it starts.
    """
    limit_threads()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    history = make_market("momentum", SEED, size.bars).history()
    config = TacticalConfig()
    spec = MarketSpec.from_config(config, (MarketPart(history, Split("train", 0, len(history))),))
    logging.getLogger("ray.rllib").setLevel(logging.ERROR)
    joined = ray.is_initialized()
    if not joined:
        ray.init(
            "local",
            num_cpus=max(size.runners) + 1,
            include_dashboard=False,
            logging_level="ERROR",
            log_to_driver=False,
        )
    try:
        yield from _rows(size, spec, MarketHandle(spec), progress)
    finally:
        if not joined:
            ray.shutdown()


def _rows(
    size: EngineSize, spec: MarketSpec, handle: MarketHandle, progress: Callable[[str], None]
) -> Iterator[Row]:
    for group in (1, GROUP):
        config = _config(size, group)
        plain = PlainMappo(config, spec, Standardization.identity(), group)
        with _algorithm(config, handle, OURS) as ours, _algorithm(config, handle, STOCK) as stock:
            progress(f"sampling, {_per_bar(group)}")
            yield _sampling(size, group, ours, stock, plain)
            if group == 1:
                progress("bytes sent to the learner")
                yield _sent(size, ours, stock)
            progress(f"training, {_per_bar(group)}")
            yield _iterations(size, group, ours, stock, plain, "training iteration")
            if group == 1 and bfloat16_cost() > SLOW:
                progress("bfloat16 left out: this processor has no hardware for it")
            elif group == 1:
                reduced = _config(size, group, precision="bfloat16")
                plain = PlainMappo(reduced, spec, Standardization.identity(), group)
                with _algorithm(reduced, handle, OURS) as ours_reduced:
                    progress(f"training, {_per_bar(group)}, bfloat16")
                    what = "bfloat16 iteration"
                    yield _iterations(size, group, ours_reduced, stock, plain, what)
    progress("two threads of the learner")
    yield _threads(dataclasses.replace(size, steps=size.update), handle)
    progress("sampling overlapped with learning")
    yield _overlapped(dataclasses.replace(size, steps=size.update), handle)
    for runners in size.runners:
        progress(f"env runners: {runners}")
        yield from _scaling(size, handle, runners)
    progress(f"simulated env runners: {size.simulated}")
    yield from _simulated(size, handle)
    progress(f"memory over {size.memory[1]} iterations")
    yield from _memory(size, handle)


def _sampling(size: EngineSize, group: int, ours: Any, stock: Any, plain: PlainMappo) -> Row:
    measurements = measure_rates(
        {
            OURS: lambda: ours.env_runner.sample(num_timesteps=size.steps),
            STOCK: lambda: stock.env_runner.sample(num_timesteps=size.steps),
            PLAIN: lambda: plain.sample(size.steps // size.accounts),
        },
        size.steps,
        size.repetitions,
    )
    wanted = {STOCK: 3.0, PLAIN: 0.9} if group == 1 else {}
    return Row(
        name=f"sampling, {size.accounts} accounts, {_per_bar(group)}",
        unit="account-steps/s",
        measurement=measurements[OURS],
        baselines=_baselines(measurements, wanted),
    )


def _iterations(
    size: EngineSize, group: int, ours: Any, stock: Any, plain: PlainMappo, what: str
) -> Row:
    measurements = measure_rates(
        {
            OURS: ours.train,
            STOCK: stock.train,
            PLAIN: lambda: plain.update(plain.sample(size.steps // size.accounts)),
        },
        size.steps,
        size.repetitions,
    )
    return Row(
        name=f"{what}, {_per_bar(group)}",
        unit="account-steps/s",
        measurement=measurements[OURS],
        baselines=_baselines(measurements, {STOCK: 2.5, PLAIN: 1 / 1.15} if group == 1 else {}),
    )


def _threads(size: EngineSize, handle: MarketHandle) -> Row:
    one, two = (_config(size, GROUP, learner_threads=threads) for threads in (1, 2))
    other = ONE_THREAD, "the same results, bit for bit; iterations in turns, by the clock", 1.45
    return _in_turns(size, handle, "two threads", two, one, other)


def _overlapped(size: EngineSize, handle: MarketHandle) -> Row:
    """Return the row of one env runner that samples while the learner learns."""
    changes: dict[str, Any] = {"num_env_runners": 1, "learner_threads": 2}
    turns, ahead = (_config(size, GROUP, overlap=overlap, **changes) for overlap in (0, 1))
    note = "the runner and the learner wait for each other; iterations in turns, by the clock"
    return _in_turns(size, handle, "1 env runner, overlap 1", ahead, turns, (IN_TURNS, note, None))


def _in_turns(
    size: EngineSize,
    handle: MarketHandle,
    what: str,
    config: TacticalConfig,
    other_config: TacticalConfig,
    other: tuple[str, str, float | None],
) -> Row:
    """Return the row of whole iterations; ``other``: the baseline's name, note and target."""
    name, note, wanted = other
    with (
        _algorithm(other_config, handle, OURS) as before,
        _algorithm(config, handle, OURS) as ours,
    ):
        works = {name: before.train, OURS: ours.train}
        found = measure_rates(works, size.steps, size.repetitions, time.perf_counter)
    return Row(
        name=f"iteration of {size.steps:,} steps, {_per_bar(GROUP)}, {what}",
        unit="account-steps/s (wall)",
        measurement=found[OURS],
        baselines=(Baseline(name, found[name], note, wanted),),
    )


def _sent(size: EngineSize, ours: Any, stock: Any) -> Row:
    def bytes_per_step(algorithm: Any) -> Measurement:
        episodes = algorithm.env_runner.sample(num_timesteps=size.steps)
        steps = sum(episode.env_steps() for episode in episodes)
        held = len(cloudpickle.dumps(episodes)) / steps
        return Measurement(held, held, held)

    return Row(
        name="sent from runner to learner",
        unit="bytes/step",
        measurement=bytes_per_step(ours),
        target=24.0,
        higher_is_better=False,
        baselines=(Baseline(STOCK, bytes_per_step(stock), NOTES[STOCK]),),
    )


def _scaling(size: EngineSize, handle: MarketHandle, runners: int) -> list[Row]:
    config = _config(size, GROUP, num_env_runners=runners, num_envs=size.accounts // runners)
    with _algorithm(config, handle, OURS) as algorithm:
        group = algorithm.env_runner_group

        def sample() -> None:
            group.foreach_env_runner(lambda runner: runner.sample(), local_env_runner=False)

        rates: list[list[float]] = [[], []]
        for repetition in range(size.repetitions + 1):
            for work, into in zip((sample, algorithm.train), rates, strict=True):
                begun = time.perf_counter()
                work()
                if repetition:  # the first one is a warm-up
                    into.append(size.steps / (time.perf_counter() - begun))
        held = group.foreach_env_runner(_memory_of, local_env_runner=False)
    workers = f"{runners} env runner{'s' if runners > 1 else ''}, {_per_bar(GROUP)}"
    return [
        Row(name=f"{what}, {workers}", unit="steps/s (wall)", measurement=summarize(values))
        for what, values in zip(("sampling", "training"), rates, strict=True)
    ] + [single(f"memory of {workers}", "MB", sum(held))]


def _memory_of(runner: Any) -> float:
    """Return the memory of a runner's process in MB; what processes share counts in parts."""
    return float(psutil.Process().memory_full_info().pss / 1e6)


def _simulated(size: EngineSize, handle: MarketHandle) -> list[Row]:
    steps = size.simulated * size.message
    config = _config(
        dataclasses.replace(size, steps=steps),
        GROUP,
        learner_threads=2,
        batch_size=size.update // 4,
    )
    with _algorithm(config, handle, OURS) as algorithm:
        return cluster_rows(algorithm, size.simulated, size.message)


def _memory(size: EngineSize, handle: MarketHandle) -> list[Row]:
    config = _config(dataclasses.replace(size, steps=size.message), GROUP, epochs=1)
    with _algorithm(config, handle, OURS) as algorithm:
        return memory_rows(algorithm, size.memory)


def _config(size: EngineSize, group: int, **changes: Any) -> TacticalConfig:
    config = TacticalConfig()
    settings: dict[str, Any] = {
        "steps_per_update": size.steps,
        "batch_size": size.steps // MINIBATCHES,
        "epochs": EPOCHS,
        "credit": "sampled",  # what RLlib and the plain loop do
        "num_envs": size.accounts,
        "accounts_per_bar": group,
        "num_env_runners": 0,
        "learner_threads": 1,  # most rows are by processor time
        "seed": SEED,
    }
    training = dataclasses.replace(config.training, **(settings | changes))
    return dataclasses.replace(config, training=training)


@contextmanager
def _algorithm(config: TacticalConfig, handle: MarketHandle, kind: str) -> Iterator[Any]:
    build = build_config if kind == OURS else stock_config
    with without_expected_noise():
        algorithm = build(config, handle, Standardization.identity()).build_algo()
    try:
        yield algorithm
    finally:
        algorithm.stop()


def _baselines(
    measurements: dict[str, Measurement], wanted: dict[str, float]
) -> tuple[Baseline, ...]:
    return tuple(
        Baseline(name, measurements[name], NOTES[name], wanted.get(name)) for name in (STOCK, PLAIN)
    )


def _per_bar(group: int) -> str:
    return "1 account per bar" if group == 1 else f"{group} per bar"
