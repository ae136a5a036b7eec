"""Section "market": features, replay, environment and memory, beside other packages."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from envs.market import MarketPart, MarketSpec
from envs.parallel import TacticalParallelEnv
from rllib_tactical.bench.measurement import Baseline, Measurement, Row, measure_rate, summarize
from rllib_tactical.bench.rivals import gym_steps, smart_money_gaps, smart_money_updates
from rllib_tactical.data.calendar.bar_length import BAR_SECONDS
from rllib_tactical.domain.decision.pipeline import Rules
from rllib_tactical.domain.decision.votes import constant_votes
from rllib_tactical.domain.features.fvg import GapStream
from rllib_tactical.domain.features.table import FeatureStream, InputViews, compute_features
from rllib_tactical.domain.simulation.episodes import EpisodeConfig
from rllib_tactical.domain.simulation.history import Split
from rllib_tactical.domain.simulation.rewards import RewardConfig
from rllib_tactical.domain.types import AGENTS, NUM_ACTIONS, Bars
from rllib_tactical.synthetic import make_market

SEED = 1
TRAIN_CONFIDENCE = 0.9
EPISODE_BARS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketSize:
    """Sizes of the measurements. The defaults take about a minute; tests use smaller ones."""

    bars: int = 200_000
    sample_bars: int = 10_000  # for packages that are too slow for all bars
    memory_bars: int = 1_000_000
    accounts: int = 4_096
    steps: int = 25
    env_steps: int = 1_000
    repetitions: int = 7


def measure_market(size: MarketSize, progress: Callable[[str], None]) -> Iterator[Row]:
    """Measure every row of the section on one synthetic market.

    Args:
        size: sizes of the measurements.
        progress: called with the name of each measurement before it starts.
    """
    progress("making the market")
    market = make_market("regime", SEED, size.bars)
    history = market.history()
    sample = market.bars[: size.sample_bars]
    spec = MarketSpec(
        parts=(MarketPart(history, Split("train", 0, len(history))),),
        rules=Rules(),
        rewards=RewardConfig(),
        episodes=EpisodeConfig(length=EPISODE_BARS),
        train_confidence=TRAIN_CONFIDENCE,
    )
    progress("features")
    yield _batch_features(market.bars, sample, size)
    yield from _streaming(sample)
    progress("other environments")
    gyms = gym_steps(sample, size.env_steps, size.repetitions)
    progress("replay")
    yield _replay(spec, size, gyms, inputs=False)
    yield _replay(spec, size, gyms, inputs=True)
    progress("PettingZoo environment")
    yield _environment(spec, size, gyms)
    progress("memory")
    yield _memory(size.memory_bars)


def _batch_features(bars: Bars, sample: Bars, size: MarketSize) -> Row:
    measurement = measure_rate(lambda: compute_features(bars), len(bars), size.repetitions)
    return Row(
        name="batch features",
        unit="bars/s",
        measurement=measurement,
        target=1_000_000,
        baselines=(
            smart_money_gaps(bars, min(size.repetitions, 3)),
            Baseline(
                "plain Python loop",
                measure_rate(lambda: _loop_over_gaps(sample), len(sample), size.repetitions),
                f"gap columns only, {len(sample):,} bars one by one",
            ),
        ),
    )


def _loop_over_gaps(bars: Bars) -> None:
    push = GapStream().push
    columns = (bars.open, bars.high, bars.low, bars.close)
    for prices in zip(*(column.tolist() for column in columns), strict=True):
        push(*prices)


def _streaming(bars: Bars) -> list[Row]:
    columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
    stream, times = FeatureStream(), []
    for values in zip(*(column.tolist() for column in columns), strict=True):
        start = time.process_time_ns()
        stream.push(*values)
        times.append((time.process_time_ns() - start) / 1e3)
    shares = (0.5, 0.99)
    theirs = smart_money_updates(bars[: max(200, len(bars) // 10)])
    return [
        Row(
            name=f"streaming update p{share * 100:.0f}",
            unit="us",
            measurement=summarize(
                [float(np.quantile(part, share)) for part in np.array_split(times, 5)]
            ),
            target=target,
            higher_is_better=False,
            baselines=(baseline,),
        )
        for share, target, baseline in zip(shares, (None, 100.0), theirs, strict=True)
    ]


def _replay(spec: MarketSpec, size: MarketSize, gyms: tuple[Baseline, ...], inputs: bool) -> Row:
    (replay,) = spec.replays(size.accounts, SEED)
    rng = np.random.default_rng(SEED)
    votes = [
        constant_votes(rng.integers(0, NUM_ACTIONS, (size.accounts, len(AGENTS))), TRAIN_CONFIDENCE)
        for _ in range(size.steps)
    ]

    def run() -> None:
        for vote in votes:
            moved = replay.step(vote)
            if inputs:
                replay.observe()
            ended = np.flatnonzero(moved.terminated | moved.truncated)
            if len(ended):
                replay.restart(ended)

    return Row(
        name=f"replay of {size.accounts:,}" + (", network inputs" if inputs else ""),
        unit="account-steps/s",
        measurement=measure_rate(run, size.accounts * size.steps, size.repetitions),
        target=500_000 if inputs else 2_000_000,
        baselines=gyms,
    )


def _environment(spec: MarketSpec, size: MarketSize, gyms: tuple[Baseline, ...]) -> Row:
    env = TacticalParallelEnv(spec, seed=SEED)
    env.reset(seed=SEED)
    drawn = np.random.default_rng(SEED).integers(0, NUM_ACTIONS, (size.env_steps, len(AGENTS)))
    actions = [dict(zip(AGENTS, row, strict=True)) for row in drawn.tolist()]

    def run() -> None:
        for action in actions:
            env.step(action)
            if not env.agents:
                env.reset()

    return Row(
        name="PettingZoo environment",
        unit="steps/s",
        measurement=measure_rate(run, size.env_steps, size.repetitions),
        target=5_000,
        baselines=gyms,
    )


def _memory(count: int) -> Row:
    """Measure the memory of the feature table and the views of ``count`` bars."""
    rng = np.random.default_rng(SEED)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 1e-3, count)))
    open_ = np.append(close[:1], close[:-1])
    wicks = rng.exponential(3e-4, (2, count))
    bars = Bars(
        BAR_SECONDS * np.arange(count),
        open_,
        np.maximum(open_, close) * (1.0 + wicks[0]),
        np.minimum(open_, close) * (1.0 - wicks[1]),
        close,
        rng.lognormal(8.0, 1.0, count),
    )
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        table = compute_features(bars)
        views = InputViews(table)
        held = (tracemalloc.get_traced_memory()[0] - before) / 1e6
    finally:
        tracemalloc.stop()
    del views  # alive until here, so that its memory is measured
    return Row(
        name=f"table and views, {count:,} bars",
        unit="MB",
        measurement=Measurement(held, held, held),
        target=200.0,
        higher_is_better=False,
    )
